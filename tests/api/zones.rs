//! The clinic's time zone: which data it is read from, and the seats that follow from it.

use engine::Clinic;
use web::config::{ClinicConfig, Config, Environment, ZoneSource};

use crate::harness::{TestApp, TestUser, config, told};
use crate::zone_files::ZoneFiles;

const MONDAY: &str = "2026-11-30";
const SUMMER_AND_WINTER_TIME: &str = "PST8PDT,M3.2.0,M11.1.0";

fn read(zone: &str, folder: &str) -> Result<ClinicConfig, String> {
    let env = Environment::of(&[("CLINIC_TIME_ZONE", zone), ("TZDIR", folder)]);
    Config::from_env(&env).map(|config| config.clinic).map_err(|error| error.to_string())
}

/// An application at `now` in `zone`, and a doctor who offers every half hour of Monday.
async fn open_all_day(zone: &str, folder: &str, now: &str) -> (TestApp, TestUser) {
    let clinic = read(zone, folder).unwrap();
    let app = TestApp::start_with(Config { clinic, ..config() }).await;
    app.clock.set(now.parse().unwrap());
    let asha = app.doctor_without_slots("asha").await;
    assert_eq!(app.as_user(&asha).set_slots("Monday", &[("00:00", "24:00")]).await.0, 200);
    (app, asha)
}

async fn first_start(app: &TestApp, doctor: &TestUser) -> String {
    let (status, body) = app.available(doctor, MONDAY).await;
    assert_eq!(status, 200, "{body}");
    body["slots"].as_array().and_then(|slots| slots[0]["start"].as_str()).map(str::to_owned).unwrap()
}

#[actix_web::test]
async fn vancouver_keeps_summer_time_in_the_winter_of_2026() {
    // 11:25 there.
    let (app, asha) = open_all_day("America/Vancouver", "/nowhere", "2026-11-30T18:25:00Z").await;
    assert_eq!(first_start(&app, &asha).await, "11:30");
    let ada = app.user("ada").await;
    for begun in ["10:30", "11:00"] {
        let answer = told(app.as_user(&ada).book(&asha, MONDAY, begun).await);
        assert_eq!(answer, (422, "slot_in_past".to_owned()), "{begun}");
    }
    assert_eq!(app.as_user(&ada).book(&asha, MONDAY, "11:30").await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn casablanca_is_on_utc_in_the_winter_of_2026() {
    let (app, asha) = open_all_day("Africa/Casablanca", "/nowhere", "2026-11-30T10:25:00Z").await;
    assert_eq!(first_start(&app, &asha).await, "10:30");
    let ada = app.user("ada").await;
    let begun = told(app.as_user(&ada).book(&asha, MONDAY, "10:00").await);
    assert_eq!(begun, (422, "slot_in_past".to_owned()));
    let answer = app.as_user(&ada).book(&asha, MONDAY, "10:30").await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    app.stop().await;
}

#[actix_web::test]
async fn zone_files_of_the_machine_win_over_the_compiled_in_data() {
    let files = ZoneFiles::with("America/Vancouver", SUMMER_AND_WINTER_TIME);
    // 10:25 by these files.
    let (app, asha) = open_all_day("America/Vancouver", files.folder(), "2026-11-30T18:25:00Z").await;
    assert_eq!(first_start(&app, &asha).await, "10:30");
    let ada = app.user("ada").await;
    assert_eq!(app.as_user(&ada).book(&asha, MONDAY, "11:00").await.0, 200);
    app.stop().await;
}

#[test]
fn compiled_in_zone_stands_in_for_a_file_that_is_missing_or_broken() {
    let files = ZoneFiles::with("America/Vancouver", SUMMER_AND_WINTER_TIME);
    files.write("Europe/Berlin", b"TZif2, or rather not");
    for zone in ["Europe/Berlin", "Asia/Kolkata"] {
        let clinic = read(zone, files.folder()).unwrap();
        assert_eq!(Some(clinic.wall_clock), Clinic::compiled_in(zone));
        let ZoneSource::CompiledIn { reason } = clinic.source else { panic!("{zone}: {:?}", clinic.source) };
        assert!(reason.contains(&format!("{}/{zone}", files.folder())), "{reason}");
    }
}

#[test]
fn zone_newer_than_the_compiled_in_data_is_read_from_the_machine() {
    let files = ZoneFiles::with("America/Kokoro", "<-05>5");
    files.write("version", b"2199a");
    let clinic = read("America/Kokoro", files.folder()).unwrap();
    assert_eq!(clinic.wall_clock.zone_name(), "America/Kokoro");
    let path = files.folder().into();
    assert_eq!(clinic.source, ZoneSource::Folder { path, version: Some("2199a".to_owned()) });
}

#[test]
fn names_that_are_no_iana_zone_are_refused_even_if_a_file_has_them() {
    let names = [
        "Mars/Olympus",
        "asia/kolkata",
        "ASIA/KOLKATA",
        "Asia//Kolkata",
        "Asia/Kolkata/",
        "/Asia/Kolkata",
        "Asia/../Asia/Kolkata",
        "./Asia/Kolkata",
        "posix/Asia/Kolkata",
        "right/Asia/Kolkata",
        "localtime",
        "posixrules",
        "tzdata.zi",
        "Asia",
        "Etc/Unknown",
        "IST-5:30",
    ];
    let files = ZoneFiles::with("Asia/Kolkata", "IST-5:30");
    let content = std::fs::read(format!("{}/Asia/Kolkata", files.folder())).unwrap();
    for name in ["asia/kolkata", "posix/Asia/Kolkata", "right/Asia/Kolkata", "localtime", "posixrules"] {
        files.write(name, &content);
    }
    for folder in [files.folder(), "/nowhere"] {
        for name in names {
            let expected = format!(
                "CLINIC_TIME_ZONE is set to '{name}': expected an IANA time zone such as Asia/Kolkata"
            );
            assert_eq!(read(name, folder).err(), Some(expected), "in {folder}");
        }
    }
}

#[test]
fn no_setting_means_kolkata() {
    let clinic = Config::from_env(&Environment::of(&[("TZDIR", "/nowhere")])).unwrap().clinic;
    assert_eq!(Some(clinic.wall_clock), Clinic::compiled_in("Asia/Kolkata"));
}
