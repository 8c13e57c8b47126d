//! The doctors' wall clock. Its zone comes from the machine's zone files, which the machine's updates keep current, and
//! otherwise from the data that is compiled in. The files are read here, once, and never afterwards.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use engine::Clinic;

use super::parsers::Expected;

pub(super) const ZONE_EXPECTED: Expected = Expected("an IANA time zone such as Asia/Kolkata");
/// The largest file of tzdata's zones has less than 4 kB.
const ZONE_BYTES_MAX: u64 = 1 << 20;
/// A version is a word such as `2026f`.
const VERSION_BYTES_MAX: u64 = 64;

/// The doctors' wall clock, and where the data of its zone was found.
#[derive(Debug, Clone)]
pub struct ClinicConfig {
    /// The wall clock.
    pub wall_clock: Clinic,
    /// Where its zone was found.
    pub source: ZoneSource,
}

/// The name of the zone, and where to look for its data.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Clinic")]
pub(super) struct ClinicSettings {
    /// IANA zone of the doctors' wall clock.
    #[arg(long, env = "CLINIC_TIME_ZONE", value_name = "ZONE", default_value = "Asia/Kolkata", value_parser = zone_name)]
    pub(super) clinic_time_zone: String,
    /// Folder of the machine's zone files; a zone that is not there is taken from the compiled-in data. The log says which
    /// is used.
    #[arg(long, env = "TZDIR", default_value = "/usr/share/zoneinfo", hide = true)]
    tzdir: PathBuf,
}

impl ClinicSettings {
    /// Opens the zone. `None` if neither the folder nor the compiled-in data has it.
    pub(super) fn resolve(&self) -> Option<ClinicConfig> {
        ClinicConfig::open(&self.clinic_time_zone, &self.tzdir)
    }
}

/// Where the data of a zone was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneSource {
    /// In a folder of zone files.
    Folder {
        /// The folder.
        path: PathBuf,
        /// The IANA release of its data, if a file of the folder names it.
        version: Option<String>,
    },
    /// In this program.
    CompiledIn {
        /// Why no zone file was used.
        reason: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum ZoneFileError {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] engine::calendar::InvalidZone),
}

impl ClinicConfig {
    /// A zone of the compiled-in data, whichever files the machine has. `None` if that data lacks it.
    pub fn compiled_in(name: &str, reason: String) -> Option<Self> {
        Some(Self { wall_clock: Clinic::compiled_in(name)?, source: ZoneSource::CompiledIn { reason } })
    }

    /// The zone called `name` from a file of `folder`, or else from the compiled-in data.
    fn open(name: &str, folder: &Path) -> Option<Self> {
        match read_zone(name, folder) {
            Ok(wall_clock) => {
                let source = ZoneSource::Folder { path: folder.to_owned(), version: version_of(folder) };
                Some(Self { wall_clock, source })
            }
            Err(error) => Self::compiled_in(name, format!("{}: {error}", folder.join(name).display())),
        }
    }

    /// Logs which data the wall clock goes by, and warns if the machine's is older than ours.
    pub(crate) fn log(&self) {
        let (zone, version) = (self.wall_clock.zone_name(), self.source.version());
        let compiled_in = Clinic::compiled_in_version();
        tracing::info!(
            clinic.zone = zone,
            zone_data.source = %self.source,
            zone_data.version = version,
            zone_data.compiled_in = compiled_in,
            "time zone {zone}: data {version} from {}; compiled-in data {compiled_in}",
            self.source,
        );
        if self.source.is_outdated() {
            tracing::warn!(
                "the machine's time zone data ({version}) is older than the compiled-in data ({compiled_in}): update the \
                 machine's tzdata and restart"
            );
        }
    }
}

impl ZoneSource {
    /// The IANA release of the data.
    fn version(&self) -> &str {
        match self {
            Self::Folder { version, .. } => version.as_deref().unwrap_or("unknown"),
            Self::CompiledIn { .. } => Clinic::compiled_in_version(),
        }
    }

    /// Whether the data is from an earlier release than the compiled-in data. Releases of a year are lettered in order.
    fn is_outdated(&self) -> bool {
        match self {
            Self::Folder { version: Some(version), .. } => version.as_str() < Clinic::compiled_in_version(),
            Self::Folder { version: None, .. } | Self::CompiledIn { .. } => false,
        }
    }
}

impl fmt::Display for ZoneSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "{}", path.display()),
            Self::CompiledIn { reason } => write!(f, "the program itself (compiled in, because {reason})"),
        }
    }
}

fn zone_name(text: &str) -> Result<String, Expected> {
    is_zone_name(text).then(|| text.to_owned()).ok_or(ZONE_EXPECTED)
}

/// Whether IANA spells a zone so. A name that the compiled-in data lacks may be that of a newer zone, but only in a known
/// area: `right/Europe/Berlin` and `localtime` are files of tzdata and no zones.
fn is_zone_name(name: &str) -> bool {
    // Without a dot and an empty part, a name leads to no file outside the folder.
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    if !name.split('/').all(|part| !part.is_empty() && part.bytes().all(is_letter)) {
        return false;
    }
    match Clinic::compiled_in_zones().find(|zone| zone.eq_ignore_ascii_case(name)) {
        Some(zone) => zone == name,
        None => area(name).is_some() && Clinic::compiled_in_zones().any(|zone| area(zone) == area(name)),
    }
}

/// `Europe` of `Europe/Berlin`.
fn area(name: &str) -> Option<&str> {
    name.split_once('/').map(|(area, _)| area)
}

fn read_zone(name: &str, folder: &Path) -> Result<Clinic, ZoneFileError> {
    let mut data = Vec::new();
    File::open(folder.join(name))?.take(ZONE_BYTES_MAX).read_to_end(&mut data)?;
    Ok(Clinic::from_tzif(name, &data)?)
}

/// The IANA release of a folder's data, from the first of the files that may name it.
fn version_of(folder: &Path) -> Option<String> {
    let word = |file: &str, mark: &str| {
        let line = first_line(&folder.join(file))?;
        let word = line.strip_prefix(mark)?.trim();
        let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        is_word.then(|| word.to_owned())
    };
    word("+VERSION", "").or_else(|| word("tzdata.zi", "# version ")).or_else(|| word("version", ""))
}

fn first_line(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(VERSION_BYTES_MAX).read_to_end(&mut start).ok()?;
    String::from_utf8_lossy(&start).lines().next().map(str::to_owned)
}
