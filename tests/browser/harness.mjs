// Starts the program and a browser, and runs each test in a browser context of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const ROOT = new URL("../../", import.meta.url).pathname;
const BINARY = resolve(ROOT, process.env.KOKORO_BINARY ?? "target/debug/kokoro");
const CHROMIUM = process.env.KOKORO_CHROMIUM ?? "/usr/bin/chromium";
const START_TIMEOUT = 30_000;
const STOP_TIMEOUT = 30_000;
const STEP_TIMEOUT = 10_000;
const TEST_TIMEOUT = 20_000;

/** A host that resolves to this machine and that browsers do not trust without TLS, unlike 127.0.0.1. */
export const UNTRUSTED_HOST = "clinic.test";

/** Rejects with `message` unless `promise` settles in time. */
async function within(milliseconds, message, promise) {
    let timer;
    const expired = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(message)), milliseconds);
    });
    try {
        return await Promise.race([promise, expired]);
    } finally {
        clearTimeout(timer);
    }
}

/** A running `kokoro` with an empty data folder and a frontend. */
class Kokoro {
    static async start(staticDir) {
        const kokoro = new Kokoro();
        kokoro.dataDir = await mkdtemp(join(tmpdir(), "kokoro-browser-"));
        kokoro.log = "";
        kokoro.child = spawn(BINARY, ["--listen", "127.0.0.1:0", "--data-dir", kokoro.dataDir], {
            env: { KOKORO_STATIC_DIR: staticDir, RATE_LIMIT_PER_MINUTE: "0", RUST_LOG: "warn" },
            stdio: ["ignore", "pipe", "pipe"],
        });
        kokoro.remove = () => {
            kokoro.child.kill("SIGKILL");
            rmSync(kokoro.dataDir, { recursive: true, force: true });
        };
        process.once("exit", kokoro.remove);
        kokoro.child.stderr.setEncoding("utf8").on("data", (text) => {
            kokoro.log += text;
        });
        kokoro.exited = once(kokoro.child, "exit");
        const firstLine = once(createInterface({ input: kokoro.child.stdout }), "line");
        const ended = kokoro.exited.then(([code]) => [`exit status ${code}`]);
        const [line] = await within(START_TIMEOUT, "kokoro does not start", Promise.race([firstLine, ended]));
        kokoro.url = line.match(/http:\/\/\S+/)?.[0];
        assert.ok(kokoro.url, `${BINARY} did not start: ${line}\n${kokoro.log}`);
        return kokoro;
    }

    /** Stops it by SIGTERM. The program must exit with status 0. */
    async stop() {
        this.child.kill("SIGTERM");
        try {
            const [code] = await within(STOP_TIMEOUT, "kokoro does not stop after SIGTERM", this.exited);
            assert.equal(code, 0, `exit status of kokoro; its log:\n${this.log}`);
        } finally {
            process.off("exit", this.remove);
            this.remove();
        }
    }
}

/** The complaints of all pages of one browser context: refusals of the content security policy, and console errors. */
class Complaints {
    constructor() {
        this.all = [];
        this.expected = [];
    }

    /** Expects one complaint or several that match. */
    expect(pattern) {
        this.expected.push(pattern);
    }

    async watch(context) {
        await context.exposeBinding("reportViolation", (_, text) => this.all.push(text));
        await context.addInitScript(() => {
            addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
                window.reportViolation(`policy violation of ${effectiveDirective}: ${blockedURI}`);
            });
        });
        context.on("console", (message) => {
            if (message.type() === "error") this.all.push(`console error: ${message.text()} (${message.location().url})`);
        });
        context.on("weberror", (error) => this.all.push(`uncaught: ${error.error()}`));
    }

    check() {
        const isExpected = (complaint) => this.expected.some((pattern) => pattern.test(complaint));
        assert.deepEqual(this.all.filter((complaint) => !isExpected(complaint)), [], "complaints that the test does not expect");
        const isMissing = (pattern) => !this.all.some((complaint) => pattern.test(complaint));
        assert.deepEqual(this.expected.filter(isMissing), [], "complaints that the test expects");
    }
}

/**
 * Starts the program, with the frontend of a folder, and a browser for all tests of a file. Returns a function that
 * declares a test. A test fails on every complaint of the browser that it does not expect.
 */
export function pagesOf(staticDir) {
    let kokoro;
    let browser;

    before(async () => {
        kokoro = await Kokoro.start(join(ROOT, staticDir));
        browser = await chromium.launch({
            executablePath: CHROMIUM,
            timeout: START_TIMEOUT,
            args: [`--host-resolver-rules=MAP ${UNTRUSTED_HOST} 127.0.0.1`],
        });
    });
    after(async () => {
        await browser?.close();
        await kokoro?.stop();
    });

    return (name, body) =>
        test(name, { timeout: TEST_TIMEOUT + STEP_TIMEOUT }, async () => {
            const context = await browser.newContext({ baseURL: kokoro.url });
            context.setDefaultTimeout(STEP_TIMEOUT);
            const complaints = new Complaints();
            const logBefore = kokoro.log.length;
            try {
                await complaints.watch(context);
                const page = await context.newPage();
                const ran = body({ page, context, url: kokoro.url, complaints });
                await within(TEST_TIMEOUT, `the test takes longer than ${TEST_TIMEOUT} ms`, ran);
                // Violations are reported in a task of their own.
                await page.evaluate(() => new Promise(requestAnimationFrame));
                complaints.check();
            } catch (error) {
                const log = kokoro.log.slice(logBefore);
                console.error(`-- ${name}: what the browser complained of\n${complaints.all.join("\n")}\n-- kokoro's log\n${log}`);
                throw error;
            } finally {
                await context.close();
            }
        });
}

// `after` does not run when a signal ends this process, and the program must not outlive it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));
