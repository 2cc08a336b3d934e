//! Settings: read once, checked whole, no option left open behind this module.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cordon_playbook::notify::{Channel, Kind, Language, NotifyError};
use serde::Deserialize;

/// Valid settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the site, as in all certificates and policies.
    pub site: String,
    /// Where agents are served.
    pub grpc_listen: SocketAddr,
    /// Where the console and the REST interface are served.
    pub http_listen: SocketAddr,
    /// The console as people reach it, without a slash at the end.
    pub public_url: String,
    /// PEM file of the certificates that alone vouch for https receivers; the system's when absent.
    pub notify_ca: Option<PathBuf>,
    /// Whom to tell.
    pub notify: Vec<NotifyChannel>,
}

/// One channel and the language spoken there.
#[derive(Clone, Debug)]
pub struct NotifyChannel {
    /// Where to.
    pub channel: Channel,
    /// In which language.
    pub language: Language,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, or not ours to read.
    #[error(
        "cannot read {path}: is this the data directory of a site? `cordon-controller init` makes one"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("cannot use {path}: line {line}: {what}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What.
        what: String,
    },
    /// The console's address is no web address.
    #[error("cannot use {path}: http.public_url {url:?} must start with https:// or http://")]
    PublicUrl {
        /// The file.
        path: PathBuf,
        /// The value.
        url: String,
    },
    /// A channel that nothing can be sent to.
    #[error("cannot use {path}: [[notify]] number {number}")]
    Notify {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// Why.
        #[source]
        source: NotifyError,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Checks settings. `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: line_of(text, error.span()),
            what: error.message().replace('\n', ", "),
        })?;
        raw.check(path)
    }
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let before = span.and_then(|span| text.get(..span.start));
    before.map_or(1, |before| before.matches('\n').count() + 1)
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    site: String,
    grpc: RawGrpc,
    http: RawHttp,
    #[serde(default)]
    notifications: RawNotifications,
    #[serde(default)]
    notify: Vec<RawNotify>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrpc {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: SocketAddr,
    public_url: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNotifications {
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNotify {
    kind: Kind,
    url: String,
    secret: Option<String>,
    #[serde(default)]
    language: Language,
}

impl Raw {
    fn check(self, path: &Path) -> Result<Config, ConfigError> {
        let public_url = self.http.public_url.trim_end_matches('/').to_owned();
        if !public_url.starts_with("https://") && !public_url.starts_with("http://") {
            return Err(ConfigError::PublicUrl {
                path: path.to_owned(),
                url: self.http.public_url,
            });
        }
        let channels = self.notify.into_iter().enumerate();
        let notify = channels.map(|(index, raw)| {
            let refused = |source| ConfigError::Notify {
                path: path.to_owned(),
                number: index + 1,
                source,
            };
            raw.check().map_err(refused)
        });
        Ok(Config {
            site: self.site,
            grpc_listen: self.grpc.listen,
            http_listen: self.http.listen,
            public_url,
            notify_ca: self.notifications.ca_file,
            notify: notify.collect::<Result<_, _>>()?,
        })
    }
}

impl RawNotify {
    fn check(self) -> Result<NotifyChannel, NotifyError> {
        let channel = Channel {
            kind: self.kind,
            url: self.url,
            secret: self.secret,
        };
        channel.check()?;
        Ok(NotifyChannel {
            channel,
            language: self.language,
        })
    }
}

/// The file that `init` writes: every setting with its meaning.
pub fn template(
    site: &str,
    grpc_listen: SocketAddr,
    http_listen: SocketAddr,
    public_url: &str,
) -> String {
    format!(
        r#"# Settings of this site's controller. Read once when `cordon-controller serve` starts.
# An unknown key is an error, so that a misspelt one is not ignored.

# Stands in every host's certificate and in every policy: never change it.
site = "{site}"

[grpc]
# Where agents connect. [::] takes IPv4 as well.
listen = "{grpc_listen}"

[http]
# Where the console and the REST interface are.
listen = "{http_listen}"
# The console as people reach it; notifications link to it.
public_url = "{public_url}"

# [notifications]
# PEM file of the certificates that alone vouch for https receivers; without it, the system's.
# ca_file = "/etc/ssl/site-ca.pem"

# Whom to tell, one block for each channel; see docs/notifications.md.
# [[notify]]
# kind = "webhook"          # or "feishu"
# url = "https://chat.example/hook/..."
# secret = "..."            # signs what is sent
# language = "en"           # or "zh"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let parsed = Config::parse(text, Path::new("controller.toml"));
        parsed.map_err(|error| crate::http::problem::chain(&error))
    }

    fn written() -> String {
        let listen = "[::]:7443".parse().unwrap();
        let http = "127.0.0.1:8443".parse().unwrap();
        template("hq", listen, http, "https://192.0.2.1:8443/")
    }

    #[test]
    fn what_init_writes_is_valid() {
        let config = parse(&written()).unwrap();
        assert_eq!(config.grpc_listen.port(), 7443);
        assert_eq!(config.public_url, "https://192.0.2.1:8443");
        assert!(config.notify.is_empty());
    }

    #[test]
    fn a_channel_may_be_appended() {
        let with = format!(
            "{}\n[[notify]]\nkind = \"feishu\"\nurl = \"https://chat.example/x\"\nlanguage = \"zh\"\n",
            written()
        );
        let config = parse(&with).unwrap();
        assert_eq!(config.notify[0].language, Language::Zh);
        assert_eq!(config.notify[0].channel.kind, Kind::Feishu);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, wanted) in [
            ("[http]", "[http]\nlissen = 1", "unknown field `lissen`"),
            ("[grpc]", "colour = 1\n[grpc]", "unknown field `colour`"),
            ("[::]:7443", "everywhere", "invalid socket address"),
            ("https://192", "ftp://192", "public_url"),
            (
                "# [[notify]]",
                "[[notify]]\nkind = \"fax\"\nurl = \"http://x\"\n#",
                "fax",
            ),
            (
                "# [[notify]]",
                "[[notify]]\nkind = \"webhook\"\nurl = \"x\"\n#",
                "number 1",
            ),
        ] {
            let error = parse(&written().replacen(from, to, 1)).unwrap_err();
            assert!(error.contains("controller.toml"), "{error}");
            assert!(error.contains(wanted), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
