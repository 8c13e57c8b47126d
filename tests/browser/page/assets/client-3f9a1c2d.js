// A single-page frontend that calls the API and reads files as the platform's own client does.

const message = document.querySelector("#message");
const shown = document.querySelector("#shown");

// The account that is logged in. The session itself is a cookie that no script can read.
let account;

/** Posts JSON to the origin of the page, without a token. */
async function call(path, body) {
    const response = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${response.status} ${answer.detail}`);
    return answer;
}

/** Reads a chosen file through a blob URL, as React Native's file pickers do on the web. */
async function readChosen(file) {
    const url = URL.createObjectURL(file);
    try {
        const response = await fetch(url);
        return await base64(await response.blob());
    } finally {
        URL.revokeObjectURL(url);
    }
}

function base64(blob) {
    return new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(blob);
    });
}

/** Resolves when the element fires `name`, rejects when it fires `error`. */
function fires(element, name) {
    return new Promise((resolve, reject) => {
        element.addEventListener(name, resolve);
        element.addEventListener("error", () => reject(new Error(`${element.tagName ?? "worker"} cannot load ${element.src ?? ""}`)));
    });
}

/** Runs `action` when the button is clicked, and shows what came of it. */
function onClick(form, name, action) {
    form.elements[name].addEventListener("click", async () => {
        message.textContent = "";
        try {
            message.textContent = await action(form.elements);
        } catch (error) {
            message.textContent = `Failed: ${error.message}`;
        }
    });
}

function fill(list, texts, open) {
    list.replaceChildren(
        ...texts.map((text) => {
            const button = document.createElement("button");
            button.type = "button";
            button.textContent = text;
            button.addEventListener("click", () => open(text));
            const item = document.createElement("li");
            item.append(button);
            return item;
        }),
    );
}

const forms = Object.fromEntries([...document.forms].map((form) => [form.id, form]));

onClick(forms.account, "sign-up", async ({ role, email, password }) => {
    const name = role.value === "Doctor" ? "doctorname" : "username";
    const body = { [name]: "Asha", email: email.value, password: password.value, phoneNumber: "+91 98765" };
    return (await call(`/auth/signup${role.value}`, body)).message;
});

onClick(forms.account, "log-in", async ({ role, email, password }) => {
    const answer = await call(`/auth/login${role.value}`, { email: email.value, password: password.value });
    account = answer.user ?? answer.doctor;
    return `Hello ${account.name}`;
});

onClick(forms.account, "log-out", async () => (await call("/auth/logout", {})).message);

onClick(forms.bookings, "list", async () => {
    const { bookings } = await call("/doctorBookings/user", { user_id: account.email });
    return `${bookings.length} bookings`;
});

onClick(forms.locker, "upload", async ({ files }) => {
    const chosen = [...files.files].map(async (file) => ({
        filename: file.name,
        content: await readChosen(file),
        metadata: { type: file.type },
    }));
    return (await call("/medilocker/upload", { email: account.email, files: await Promise.all(chosen) })).message;
});

onClick(forms.locker, "list", async () => {
    const { files } = await call("/medilocker/fetch", { email: account.email });
    const names = files.map((file) => file.filename);
    fill(forms.locker.querySelector("ul"), names, async (filename) => {
        const { download_url: url } = await call("/medilocker/download", { email: account.email, filename });
        window.open(url, "_blank");
    });
    return `${files.length} files, ${files.map((file) => file.size).join(" and ")} bytes`;
});

onClick(forms.profile, "save", async (elements) => {
    const body = { email: account.email, specialization: elements.specialization.value };
    for (const kind of ["profilePhoto", "degreeCertificate", "govtIdProof"]) {
        const [file] = elements[kind].files;
        if (file) body[kind] = { filename: file.name, base64_content: await readChosen(file) };
    }
    return (await call("/doctorsService/completeProfile", body)).message;
});

onClick(forms.doctors, "list", async () => {
    // The client sends no body at all, and calls it JSON.
    const response = await fetch("/doctorsService/fetchDoctors", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
    });
    const { doctors } = await response.json();
    fill(
        forms.doctors.querySelector("ul"),
        doctors.map((doctor) => doctor.email),
        (email) => window.client.showImage(doctors.find((doctor) => doctor.email === email).profilePhoto),
    );
    return `${doctors.length} doctors`;
});

/** What a test asks of the page by itself. Each resolves to what the page saw. */
window.client = {
    /** Goes to a route of the page, without a request. */
    go(path) {
        history.pushState(null, "", path);
        show();
    },

    async fetchText(url) {
        return await (await fetch(url)).text();
    },

    blobUrl(text, type) {
        return URL.createObjectURL(new Blob([text], { type }));
    },

    blobUrlOfBase64(text, type) {
        const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
        return URL.createObjectURL(new Blob([bytes], { type }));
    },

    async showImage(url) {
        const image = new Image();
        const loaded = fires(image, "load");
        image.src = url;
        shown.replaceChildren(image);
        await loaded;
        return [image.naturalWidth, image.naturalHeight];
    },

    /** Loads half a second of silence from a blob URL. Resolves to its duration in seconds. */
    async loadMedia(tagName) {
        const [rate, samples] = [8000, 4000];
        const header = new DataView(new ArrayBuffer(44));
        const text = (at, name) => [...name].forEach((char, index) => header.setUint8(at + index, char.charCodeAt(0)));
        text(0, "RIFF");
        header.setUint32(4, 36 + samples, true);
        text(8, "WAVEfmt ");
        header.setUint32(16, 16, true);
        header.setUint16(20, 1, true);
        header.setUint16(22, 1, true);
        header.setUint32(24, rate, true);
        header.setUint32(28, rate, true);
        header.setUint16(32, 1, true);
        header.setUint16(34, 8, true);
        text(36, "data");
        header.setUint32(40, samples, true);
        const media = document.createElement(tagName);
        const loaded = fires(media, "loadeddata");
        media.src = URL.createObjectURL(new Blob([header, new Uint8Array(samples).fill(128)], { type: "audio/wav" }));
        shown.replaceChildren(media);
        await loaded;
        return media.duration;
    },

    /** Sends a worker that is written as text a message. Resolves to its answer. */
    async askWorker(message) {
        const source = "onmessage = ({ data }) => postMessage(data.toUpperCase())";
        const worker = new Worker(this.blobUrl(source, "text/javascript"));
        const answered = fires(worker, "message");
        worker.postMessage(message);
        const { data } = await answered;
        worker.terminate();
        return data;
    },

    /** Shows a document in a frame, as a preview. Resolves when the frame has loaded. */
    async preview(url) {
        const frame = document.createElement("iframe");
        const loaded = fires(frame, "load");
        frame.src = url;
        shown.replaceChildren(frame);
        await loaded;
    },

    /** Loads a font. Resolves to the width of its letter A in ems. */
    async widthInFont(url) {
        const font = new FontFace("Test", `url(${url})`);
        document.fonts.add(await font.load());
        const span = document.createElement("span");
        span.style.font = "100px Test";
        span.textContent = "A";
        shown.replaceChildren(span);
        return span.getBoundingClientRect().width / 100;
    },

    /** Adds a script that the page did not have when it was served. */
    runInjectedScript() {
        const script = document.createElement("script");
        script.textContent = "document.documentElement.dataset.injectedScript = 'ran'";
        document.head.append(script);
        return document.documentElement.dataset.injectedScript;
    },
};

function show() {
    document.querySelector("#path").textContent = location.pathname;
}

window.addEventListener("popstate", show);
show();
