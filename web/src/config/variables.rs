//! The one table of environment variables: `--help` shows it, and no other variable is read.

use std::fmt::Write;

struct Variable {
    name: &'static str,
    option: Option<&'static str>,
    default: &'static str,
    meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, option: None, default, meaning }
}

const fn option(
    name: &'static str,
    option: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, option: Some(option), default, meaning }
}

const VARIABLES: &[Variable] = &[
    option(
        "KOKORO_LISTEN",
        "--listen",
        "127.0.0.1:8080",
        "Address and port to listen on; port 0 takes a free one, which the first line of output names.",
    ),
    option(
        "KOKORO_DATA_DIR",
        "--data-dir",
        "./data",
        "Folder of the embedded store and of the secret that was made up for it.",
    ),
    variable(
        "KOKORO_STATIC_DIR",
        "none",
        "Folder of a built single-page frontend, served at / from the same origin; paths that nothing answers get its index.html.",
    ),
    variable(
        "KOKORO_ADMIN_LISTEN",
        "none: /metrics and /cluster are served beside the API",
        "Address and port on which /metrics and /cluster are served instead, without TLS; /healthz and /readyz are on both.",
    ),
    variable(
        "KOKORO_ADMIN_HOSTS",
        "none: IP addresses and localhost only",
        "Comma-separated host names under which KOKORO_ADMIN_LISTEN may be called as well, such as the name that Prometheus scrapes; a request with another Host is refused.",
    ),
    variable(
        "KOKORO_TLS_CERT",
        "none: plain HTTP",
        "PEM file of the certificate, and those that lead to its root, to serve over TLS; read again on SIGHUP.",
    ),
    variable("KOKORO_TLS_KEY", "none", "PEM file of the certificate's private key; read again on SIGHUP."),
    option(
        "KOKORO_DEMO",
        "--demo",
        "off",
        "Fill an empty store with three doctors, their slots and two users, and print a session to try. Not on AWS.",
    ),
    variable(
        "KOKORO_JWT_SECRET",
        "made and kept in the data folder when embedded, required otherwise",
        "What session tokens are signed with: 32 bytes or more; while it is being replaced both, with a comma between them: the first signs.",
    ),
    variable(
        "KOKORO_PASSWORD_HASH",
        "argon2id",
        "What passwords are hashed with, at sign-up and at a log-in with a hash of the other kind: argon2id, or bcrypt, which the old platform can check as well, while there may be a way back to it.",
    ),
    variable(
        "AWS_REGION",
        "none: embedded store",
        "Use the DynamoDB of this AWS region, with credentials found the way AWS's own tools do. AWS_DEFAULT_REGION is its second name.",
    ),
    variable("AWS_DEFAULT_REGION", "none", "Counts where AWS_REGION is not set."),
    variable("AWS_PROFILE", "none", "As AWS's own tools take it; needs AWS_REGION as well."),
    variable("AWS_ENDPOINT_URL", "none", "As AWS's own tools take it; needs AWS_REGION as well."),
    variable("AWS_ENDPOINT_URL_DYNAMODB", "none", "As AWS's own tools take it; needs AWS_REGION as well."),
    variable("AWS_ENDPOINT_URL_S3", "none", "As AWS's own tools take it; needs AWS_REGION as well."),
    variable("DYNAMODB_ENDPOINT", "none: embedded store", "Use the DynamoDB-compatible server at this URL."),
    variable("S3_ENDPOINT", "none: embedded store", "Use the S3-compatible server at this URL."),
    variable(
        "KOKORO_S3_LISTEN",
        "a free port of 127.0.0.1",
        "Address and port of the embedded S3, for a proxy that hands browsers on to it; the proxy must keep the Host.",
    ),
    variable(
        "S3_PUBLIC_ENDPOINT",
        "the endpoint in use",
        "The address under which browsers reach S3: pre-signed URLs carry it.",
    ),
    variable("MEDILOCKER_BUCKET", "kokoro-medilocker", "Bucket of patients' files."),
    variable("DOCTOR_DOCUMENTS_BUCKET", "kokoro-doctor-documents", "Bucket of doctors' documents."),
    variable(
        "KOKORO_STOP_NOTICE_MS",
        "0",
        "How long a node that is asked to stop goes on answering once /readyz says so and the others have its doctors, in milliseconds: longer than a load balancer takes to notice.",
    ),
    variable(
        "KOKORO_SHARE_PORT",
        "off",
        "Let other processes of this user listen on KOKORO_LISTEN as well; the kernel spreads the connections over them. For several nodes on one machine.",
    ),
    variable(
        "KOKORO_NODE_ADDRESS",
        "none: this process is alone, and takes every doctor",
        "host:port at which other nodes reach this one: it then shares the doctors with them. Needs KOKORO_CLUSTER_SECRET, and tables that all of them use. Port 0 is the one that KOKORO_NODE_LISTEN gets.",
    ),
    variable(
        "KOKORO_NODE_LISTEN",
        "KOKORO_NODE_ADDRESS if that is an IP address, else its port on 0.0.0.0",
        "Address and port on which other nodes are answered: signed, but not encrypted. Keep it from strangers.",
    ),
    variable(
        "KOKORO_CLUSTER_SECRET",
        "none; required with KOKORO_NODE_ADDRESS",
        "What nodes know each other by: 32 bytes or more, the same on all. While it is being replaced both, with a comma between them: the first signs. Their clocks may be 60 s apart.",
    ),
    variable(
        "KOKORO_RANGES",
        "64",
        "Into how many ranges the doctors are cut, each owned by one node: a power of two from 4 to 4096, the same on all nodes. Stored at the first start: another number is refused from then on.",
    ),
    variable("KOKORO_HEARTBEAT_MS", "1000", "How often a node says that it lives, in milliseconds."),
    variable(
        "KOKORO_LEASE_MS",
        "3000",
        "How long a node must be silent before the others take its doctors, in milliseconds: twice KOKORO_HEARTBEAT_MS or more.",
    ),
    variable(
        "KOKORO_DYNAMODB_LISTEN",
        "a free port of a loopback address of its own",
        "Loopback address and port of the embedded DynamoDB, for other processes on this machine (their DYNAMODB_ENDPOINT). They sign with its key: AWS_ACCESS_KEY_ID=kokoro, and AWS_SECRET_ACCESS_KEY from store-secret in the data folder.",
    ),
    variable("USERS_TABLE", "Users", "Table of the patients' accounts."),
    variable("DOCTORS_TABLE", "Doctors", "Table of the doctors' accounts and profiles."),
    variable("DOCTOR_AVAILABILITY_TABLE", "DoctorAvailabilityTable", "Table of published slots."),
    variable("DOCTOR_BOOKINGS_TABLE", "DoctorBookingsTable", "Table of bookings."),
    variable("CHAT_HISTORY_TABLE", "ChatHistory", "Table of exchanges with the assistant."),
    variable("PAYMENTS_TABLE", "PaymentsTable", "Table of payments."),
    variable(
        "KOKORO_ENGINE_TABLE",
        "KokoroEngine",
        "Table of the engine's own items: who owns which doctors.",
    ),
    variable("KOKORO_NODES_TABLE", "KokoroNodes", "Table of the nodes of a cluster and their heartbeats."),
    variable(
        "KOKORO_AUDIT_TABLE",
        "KokoroAudit",
        "Table of the audit trail: who read, changed or deleted whose records. Rows are only added: the right to put suffices.",
    ),
    variable("CLINIC_TIME_ZONE", "Asia/Kolkata", "IANA zone of the doctors' wall clock."),
    variable(
        "TZDIR",
        "/usr/share/zoneinfo",
        "Folder of the machine's zone files; a zone that is not there is taken from the compiled-in data. The log says which is used.",
    ),
    variable(
        "KOKORO_BOOKINGS_PER_DOCTOR_MAX",
        "10",
        "Bookings to come that a patient may hold with one doctor, up to 768, the same on all nodes. 0 turns the limit off. Counts the dates that the doctor's calendar has in memory.",
    ),
    variable(
        "CORS_ALLOWED_ORIGINS",
        "none",
        "Comma-separated origins whose pages may call with the session cookie, such as https://clinic.example. '*' is refused.",
    ),
    variable(
        "RATE_LIMIT_PER_MINUTE",
        "600",
        "Requests that an address, or an account, may make in a minute; costly calls get a part of it. 0 turns this and the slowing of failed log-ins off (for load tests).",
    ),
    variable(
        "TRUSTED_PROXIES",
        "none",
        "Comma-separated networks whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host count.",
    ),
    variable(
        "OLLAMA_API",
        "none: no assistant",
        "The address of the Ollama server that answers chats, such as http://127.0.0.1:11434.",
    ),
    variable("OLLAMA_MODEL", "llama3", "The model that answers chats."),
    variable(
        "RAZORPAY_KEY_ID",
        "none: no payments",
        "The API key of Razorpay; needs RAZORPAY_KEY_SECRET as well.",
    ),
    variable("RAZORPAY_KEY_SECRET", "none", "The secret half of the API key."),
    variable(
        "RAZORPAY_WEBHOOK_SECRET",
        "none: webhooks are refused",
        "What Razorpay signs its webhooks with; while it is being replaced both, with a comma between them.",
    ),
    variable("RAZORPAY_API", "https://api.razorpay.com", "The address of Razorpay's API."),
    variable(
        "KOKORO_LOG_FORMAT",
        "text",
        "How a line of the log is written: text, or json for one object a line.",
    ),
    variable(
        "RUST_LOG",
        "info",
        "Which events are logged, to standard error; 'warn' leaves out the line for each request.",
    ),
];

/// Whether the program reads this variable.
pub(super) fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name)
}

/// What `--help` says below the options.
pub(super) fn help() -> String {
    let mut text = String::from(
        "Environment variables (an option wins over its variable; an empty value counts as unset):\n",
    );
    for Variable { name, option, default, meaning } in VARIABLES {
        let option = option.map(|option| format!(" (or {option})")).unwrap_or_default();
        let _ = writeln!(text, "\n  {name}{option}\n      {meaning}\n      Default: {default}");
    }
    text.push_str(
        "\nExit status:\n\
         \x20  0  stopped by SIGTERM or SIGINT: everything in flight was stored and answered\n\
         \x20  1  could not start, or failed while running; the reason is on standard error\n\
         \x20  2  unknown option\n\
         \x20  3  another process has taken over these tables; a supervisor must not restart this one\n\
         \x20  78  a setting cannot be understood; nothing was started\n",
    );
    text
}
