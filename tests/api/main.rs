//! The real application over real HTTP, on the embedded server in memory and a clock that stands still. Over other
//! stores if `KOKORO_TEST_DYNAMODB_ENDPOINT` and `KOKORO_TEST_S3_ENDPOINT` name them.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test may panic, and nobody links it")]

#[path = "../support/eventually.rs"]
mod eventually;
mod external;
#[path = "../store/fresh_names.rs"]
mod fresh_names;
mod harness;

mod audit;
mod auth;
mod bad_input;
mod bookings;
mod chat;
mod chat_callers;
mod chat_stream;
mod chat_thoughts;
mod chat_truncated;
mod doctor_list;
mod door;
mod fairness;
mod frontend;
mod locker;
mod metrics;
mod ollama;
mod openapi;
mod payment_failures;
mod payments;
mod permissions;
mod platform;
mod profiles;
mod protection;
mod razorpay;
mod rotation;
mod tls;
mod too_many;
mod uploads;
mod watching;
mod webhooks;
mod wire;
#[path = "../template/yaml.rs"]
mod yaml;
mod zone_files;
mod zones;
