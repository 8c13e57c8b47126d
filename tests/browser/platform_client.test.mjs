// What the platform's own client does in a browser, served by the program from the origin of the API.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { pagesOf, UNTRUSTED_HOST } from "./harness.mjs";

const test = pagesOf("tests/browser/page");

const PASSWORD = "correct horse";
/** A PNG of 3 by 2 pixels. */
const PHOTO = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEElEQVR42mNQaGiAIAY4CwBBVAbBnd7q5AAAAABJRU5ErkJggg==";
/** A WOFF2 font whose only letter, A, is three ems wide. */
const FONT =
    "d09GMgABAAAAAAD8AAoAAAAAAkAAAACzAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAABmAANAoYNQE2AiQDCAsGAAQgBTwHIBumAfiPwziG/BJDW+LBiOf//z7d592XpINm+QfvQDNoV0BrPpMHO0xABW01" +
    "E/9+wPmS5AHXqvz4EB9iZYgJsAGHJdF4o5r+5s5EJwNcxuDadQ1Qgx8AwAAaCnMlmOsGdF1wPY7tGl8EQAMdQWEC6IBU6tZ2swGC8Py8uo+z3V7VP/wdPeFCttmiNBBqGOVwyf5HtgIAaNlyuETQlIAGAIDu" +
    "VEAEAU1ESd8XTTua9cWNhYkFAAAA";

/** Clicks a button of a form. Resolves to what the page says when the call has been answered. */
async function click(page, form, name) {
    await page.locator(`#${form} [name=${name}]`).click();
    return await page.locator("#message:not(:empty)").textContent();
}

async function fillAccount(page, role, email) {
    await page.selectOption("[name=role]", role);
    await page.fill("[name=email]", email);
    await page.fill("[name=password]", PASSWORD);
}

/** Opens the page, signs up and logs in. */
async function logIn(page, role, email) {
    await page.goto("/");
    await fillAccount(page, role, email);
    assert.match(await click(page, "account", "sign-up"), /registered/);
    assert.equal(await click(page, "account", "log-in"), "Hello Asha");
}

function chosen(name, mimeType, content, encoding) {
    return { name, mimeType, buffer: Buffer.from(content, encoding) };
}

test("patient stays logged in by a cookie that scripts cannot read", async ({ page, complaints }) => {
    const tokens = [];
    page.on("request", (request) => tokens.push(request.headers().authorization));
    await logIn(page, "User", "cookie@example.com");
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.equal(await click(page, "bookings", "list"), "0 bookings");
    assert.equal(await click(page, "account", "log-out"), "Logged out");
    complaints.expect(/^console error: .* status of 401 .*\/doctorBookings\/user\)$/);
    assert.match(await click(page, "bookings", "list"), /^Failed: 401 /);
    assert.ok(tokens.length > 5 && tokens.every((token) => token === undefined), `${tokens}`);
});

test("patient uploads files that the page reads through blob URLs", async ({ page }) => {
    await logIn(page, "User", "upload@example.com");
    const report = chosen("report.pdf", "application/pdf", "%PDF-1.4 nothing");
    const photo = chosen("छाती का एक्स-रे.png", "image/png", PHOTO, "base64");
    await page.setInputFiles("[name=files]", [report, photo]);
    assert.equal(await click(page, "locker", "upload"), "Files uploaded successfully");
    assert.match(await click(page, "locker", "list"), /^2 files, .*\b16\b/);
    const names = await page.locator("#locker li").allTextContents();
    assert.deepEqual(names.sort(), [report.name, photo.name].sort());
});

test("pre-signed URL opens in a new tab as a download under the file's own name", async ({ page, url }) => {
    await logIn(page, "User", "download@example.com");
    const files = [
        chosen("report of 30%.html", "text/html", "<script>document.title = 'ran'</script>"),
        chosen("छाती.png", "image/png", PHOTO, "base64"),
    ];
    await page.setInputFiles("[name=files]", files);
    assert.equal(await click(page, "locker", "upload"), "Files uploaded successfully");
    await click(page, "locker", "list");
    for (const { name, buffer } of files) {
        // A tab that has nothing to show closes at once: its opener reports the download.
        const downloading = page.waitForEvent("download");
        await page.locator("#locker li button", { hasText: name }).click();
        const download = await downloading;
        assert.notEqual(new URL(download.url()).origin, url);
        assert.equal(download.suggestedFilename(), name);
        assert.deepEqual(await readFile(await download.path()), buffer);
        assert.equal(page.url(), `${url}/`);
    }
});

test("doctor registers with documents that the page reads through blob URLs", async ({ page, url }) => {
    const email = "asha@clinic.example";
    await logIn(page, "Doctor", email);
    await page.fill("[name=specialization]", "ENT/Head");
    await page.setInputFiles("[name=profilePhoto]", chosen("मैं.png", "image/png", PHOTO, "base64"));
    await page.setInputFiles("[name=degreeCertificate]", chosen("degree.pdf", "application/pdf", "%PDF-1.4 degree"));
    await page.setInputFiles("[name=govtIdProof]", chosen("id.pdf", "application/pdf", "%PDF-1.4 id"));
    assert.equal(await click(page, "profile", "save"), "Doctor profile updated successfully.");
    // The list shows a photo by a pre-signed URL, which leads to another origin.
    assert.equal(await click(page, "doctors", "list"), "1 doctors");
    await page.locator("#doctors li button", { hasText: email }).click();
    await page.waitForFunction(() => document.querySelector("#shown img")?.naturalWidth > 0);
    const image = page.locator("#shown img");
    assert.equal(await image.evaluate((image) => image.naturalWidth), 3);
    assert.notEqual(new URL(await image.getAttribute("src")).origin, url);
});

test("script within the page runs, and a script that is added later does not", async ({ page, complaints }) => {
    await page.goto("/");
    assert.equal(await page.getAttribute("html", "data-inline-script"), "ran");
    complaints.expect(/^policy violation of script-src-elem: inline$/);
    complaints.expect(/^console error: .*inline script/);
    assert.equal(await page.evaluate(() => window.client.runInjectedScript()), undefined);
});

test("page fetches data: and blob: URLs", async ({ page }) => {
    await page.goto("/");
    assert.equal(await page.evaluate(() => window.client.fetchText("data:text/plain,hello")), "hello");
    const text = await page.evaluate(() => window.client.fetchText(window.client.blobUrl("hello", "text/plain")));
    assert.equal(text, "hello");
});

test("page starts a worker from a blob URL", async ({ page }) => {
    await page.goto("/");
    assert.equal(await page.evaluate(() => window.client.askWorker("hello")), "HELLO");
});

test("page shows images of data: and blob: URLs", async ({ page }) => {
    await page.goto("/");
    const fromData = page.evaluate((photo) => window.client.showImage(`data:image/png;base64,${photo}`), PHOTO);
    assert.deepEqual(await fromData, [3, 2]);
    const fromBlob = page.evaluate((photo) => {
        return window.client.showImage(window.client.blobUrlOfBase64(photo, "image/png"));
    }, PHOTO);
    assert.deepEqual(await fromBlob, [3, 2]);
});

test("page plays audio and video of blob URLs", async ({ page }) => {
    await page.goto("/");
    for (const tagName of ["audio", "video"]) {
        assert.equal(await page.evaluate((name) => window.client.loadMedia(name), tagName), 0.5, tagName);
    }
});

test("page previews a document of a blob URL in a frame", async ({ page }) => {
    await page.goto("/");
    await page.evaluate(() => window.client.preview(window.client.blobUrl("<p>Report</p>", "text/html")));
    assert.equal(await page.frameLocator("#shown iframe").locator("p").textContent(), "Report");
});

test("page loads a font of a data: URL", async ({ page }) => {
    await page.goto("/");
    const width = page.evaluate((url) => window.client.widthInFont(url), `data:font/woff2;base64,${FONT}`);
    assert.equal(await width, 3);
});

// Some are names of API folders, some look like files, some hold characters that no path of the API has.
const ROUTES = [
    "/profile",
    "/specialization/ENT%2FHead",
    "/q/.net",
    "/q/what:",
    "/tag/*new",
    "/chat",
    "/payment/done",
    "/medilocker",
    "/doctors/asha@clinic.example",
    "/doctors/%E0%A4%85",
];

for (const route of ROUTES) {
    test(`reload of ${route} answers the page`, async ({ page, url }) => {
        // A browser marks a navigation only if it trusts the origin.
        for (const origin of [url, url.replace("127.0.0.1", UNTRUSTED_HOST)]) {
            await page.goto(origin);
            await page.evaluate((path) => window.client.go(path), route);
            const response = await page.reload();
            assert.equal(response.status(), 200, origin);
            assert.equal(await page.locator("#path").textContent(), route, origin);
        }
    });
}
