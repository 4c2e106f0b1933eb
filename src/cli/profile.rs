//! Decides how the hub is found at the prompt: a profile in TOML, overridden
//! by options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::base::files;
use crate::client::{Client, Connection, Endpoint, Identity};

use super::Environment;
use super::arguments::Hub;
use super::exit::Failure;
use super::output;

/// A profile as it is written. Paths are relative to the profile.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    hub: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

/// What is needed to reach the hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    hub: String,
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) server_name: Option<String>,
    deadline: Duration,
}

impl Settings {
    /// A client for the hub, in the name of `identity`.
    pub(super) fn connect(&self, identity: Identity) -> Result<Client, Failure> {
        let mut endpoint = Endpoint::new(&self.hub, &self.ca)?;
        if let Some(name) = &self.server_name {
            endpoint = endpoint.server_name(name);
        }
        Ok(Connection::open(&endpoint, identity)?.client().with_deadline(self.deadline))
    }

    /// The same under the name for which a hub shows its next certificate.
    pub(super) fn connect_to_canary(&self, identity: Identity, name: &str) -> Result<Client, Failure> {
        let endpoint = Endpoint::new(&self.hub, &self.ca)?.server_name(name);
        Ok(Connection::open(&endpoint, identity)?.client().with_deadline(self.deadline))
    }

    /// The identity in the files of the settings.
    pub(super) fn identity(&self) -> Result<Identity, Failure> {
        Ok(Identity::from_files(&self.cert, &self.key)?)
    }
}

/// A client for the hub that the options and the profile name.
pub(super) fn connect(options: &Hub, environment: &Environment) -> Result<Client, Failure> {
    let settings = settings(options, environment)?;
    if files::is_open_to_others(&settings.key).unwrap_or(false) {
        output::talk(&format!(
            "luytre: warning: others can read the key {0}; run: chmod 600 {0}",
            settings.key.display()
        ));
    }
    settings.connect(settings.identity()?)
}

/// A client for a hub of this machine, by its admin socket.
pub(super) fn connect_to_socket(options: &Hub, socket: &Path) -> Client {
    Connection::over_admin_socket(socket).client().with_deadline(Duration::from_secs(options.timeout))
}

/// What the options and the profile say.
pub(super) fn settings(options: &Hub, environment: &Environment) -> Result<Settings, Failure> {
    let named = options.profile.clone().or_else(|| environment.profile.clone());
    let default = environment.configuration.as_ref().map(|dir| dir.join("luytre").join("profile.toml"));
    let (path, profile) = match (named, default) {
        // A profile that was asked for must be there.
        (Some(path), _) => (Some(path.clone()), read(&path)?),
        (None, Some(path)) if path.try_exists().unwrap_or(false) => (Some(path.clone()), read(&path)?),
        (None, path) => (path, Profile::default()),
    };
    let beside = |file: PathBuf| match path.as_ref().and_then(|path| path.parent()) {
        Some(dir) => dir.join(file),
        None => file,
    };
    let hub = options.hub.clone().or(profile.hub);
    let ca = options.ca.clone().or_else(|| profile.ca.map(beside));
    let cert = options.cert.clone().or_else(|| profile.cert.map(beside));
    let key = options.key.clone().or_else(|| profile.key.map(beside));
    let missing: Vec<&str> =
        [("hub", hub.is_none()), ("ca", ca.is_none()), ("cert", cert.is_none()), ("key", key.is_none())]
            .into_iter()
            .filter_map(|(name, missing)| missing.then_some(name))
            .collect();
    let (Some(hub), Some(ca), Some(cert), Some(key)) = (hub, ca, cert, key) else {
        let place = path.map_or_else(|| "profile.toml".to_owned(), |path| path.display().to_string());
        return Err(Failure::Configuration(format!(
            "which hub, and as whom? Missing: {}.\n  Write them into {place}:\n    hub  = \"hub.example:7443\"\n    ca   = \"hub-ca.pem\"\n    cert = \"me.pem\"\n    key  = \"me.key\"\n  or give --{}.",
            missing.join(", "),
            missing.join(" … --"),
        )));
    };
    let server_name = options.server_name.clone().or(profile.server_name);
    Ok(Settings { hub, ca, cert, key, server_name, deadline: Duration::from_secs(options.timeout) })
}

fn read(path: &Path) -> Result<Profile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Configuration(format!("cannot read the profile {}: {error}", path.display()))
    })?;
    toml::from_str(&text).map_err(|error| {
        Failure::Configuration(format!(
            "the profile {} is wrong: {error}\n  It holds hub, ca, cert, key and perhaps server_name.",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(dir: &Path) -> Environment {
        Environment { configuration: Some(dir.to_owned()), ..Environment::default() }
    }

    fn write(dir: &Path, text: &str) {
        std::fs::create_dir_all(dir.join("luytre")).unwrap();
        std::fs::write(dir.join("luytre/profile.toml"), text).unwrap();
    }

    #[test]
    fn paths_are_relative_to_the_profile_and_options_win() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "hub = \"a:1\"\nca = \"ca.pem\"\ncert = \"/abs/me.pem\"\nkey = \"me.key\"\n");
        let options = Hub { hub: Some("b:2".into()), ..Hub::default() };
        let settings = settings(&options, &environment(dir.path())).unwrap();
        assert_eq!(settings.hub, "b:2");
        assert_eq!(settings.ca, dir.path().join("luytre/ca.pem"));
        assert_eq!(settings.cert, Path::new("/abs/me.pem"));
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = settings(&Hub::default(), &environment(dir.path())).unwrap_err().text().unwrap();
        assert!(text.contains("Missing: hub, ca, cert, key."), "{text}");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "hubb = \"a:1\"\n");
        let text = settings(&Hub::default(), &environment(dir.path())).unwrap_err().text().unwrap();
        assert!(text.contains("hubb"), "{text}");
    }
}
