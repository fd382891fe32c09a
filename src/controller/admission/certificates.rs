//! Keeps the certificate that API servers are shown: read again from its files, or made and renewed, shared through a
//! Secret, and its authority told to the configuration of the webhook.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::commands::context::Failure;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::server::certificates::{Keeping, Lives};
use crate::server::tls::Shown;
use crate::source::cluster::admission::{AdmissionSettings, CertificateFiles, SelfSigned};
use crate::source::cluster::api::{Api as Cluster, Fault, MANAGER};

/// How often files are looked at, and how often the Secret is.
const FILES_EVERY: Duration = Duration::from_secs(5);
const SECRET_EVERY: Duration = Duration::from_secs(60);

/// How soon it is tried again where that failed.
const AGAIN: Duration = Duration::from_secs(3);

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How often something is tried where another replica writes the same Secret.
const TRIES: usize = 5;

/// What of the Secret is read again, and what of it is for others.
const STATE: &str = "keeping.json";
const BUNDLE: &str = "ca.crt";

/// Keeps the certificate for as long as it is waited for. Files that cannot be used now cannot be used at all.
pub fn keep(
    settings: &AdmissionSettings,
    cluster: &Cluster,
    shown: Shown,
) -> Result<impl Future<Output = ()> + Send + use<>, Failure> {
    let files = settings.certificate.clone();
    let mut known = None;
    if let Some(files) = &files {
        let read = read(files).and_then(|read| shown.show(&read.0, &read.1).map(|()| read));
        known = Some(read.map_err(|why| {
            let finding = Finding::error(Code::BadSettings, format!("the certificate of admission: {why}"));
            Failure::from(finding.hint("`kubernetes.admission.certificate` names files in PEM"))
        })?);
    }
    let own = settings.self_signed.clone().zip(settings.webhook_name.clone());
    let (client, patience) = (cluster.client(), cluster.times.request);
    Ok(async move {
        if let (Some(files), Some(known)) = (files, known) {
            follow(&files, known, &shown).await;
        } else if let Some((own, webhook)) = own {
            let keeper = Keeper { client, own, webhook, lives: Lives::default(), shown };
            keeper.keep(patience).await;
        }
    })
}

type Read = (Vec<u8>, Vec<u8>);

fn read(files: &CertificateFiles) -> Result<Read, String> {
    use std::io::Read as _;
    let read = |path: &std::path::Path| {
        let bytes = std::fs::File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
        });
        bytes.map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    Ok((read(&files.cert_file)?, read(&files.key_file)?))
}

/// Shows what stands in the files whenever that has changed. The two change one after the other, so what does not fit
/// together is looked at again.
async fn follow(files: &CertificateFiles, mut known: Read, shown: &Shown) {
    let mut told = None;
    loop {
        tokio::time::sleep(FILES_EVERY).await;
        let now = match read(files) {
            Ok(now) if now == known => continue,
            now => now,
        };
        match now.and_then(|now| shown.show(&now.0, &now.1).map(|()| now)) {
            Ok(now) => {
                tracing::info!("the certificate of admission has changed");
                (known, told) = (now, None);
            }
            Err(why) if told.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!(why, "the certificate of admission stays as it was: {why}");
                told = Some(why);
            }
        }
    }
}

/// Keeps a self-made certificate.
pub struct Keeper {
    /// How the cluster is asked.
    pub client: Client,
    /// Whom it is for.
    pub own: SelfSigned,
    /// The configuration that is told of its authority.
    pub webhook: String,
    /// How long certificates count.
    pub lives: Lives,
    /// Where it is shown.
    pub shown: Shown,
}

impl Keeper {
    async fn keep(&self, patience: Duration) {
        loop {
            let stepped = match tokio::time::timeout(patience, self.step()).await {
                Ok(stepped) => stepped,
                Err(_) => Err("the API server takes too long".into()),
            };
            let wait = match stepped {
                Ok(()) => SECRET_EVERY,
                Err(why) => {
                    tracing::warn!(why, "the certificate of admission cannot be kept: {why}");
                    AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews what is due, shows what all replicas show, and tells its authority.
    pub async fn step(&self) -> Result<(), String> {
        let keeping = self.shared().await?;
        if let Some((certificate, key)) = keeping.shown() {
            self.shown.show(certificate.as_bytes(), key.as_bytes())?;
        }
        self.tell(&keeping.bundle()).await
    }

    /// What the Secret holds, after what is due was renewed. Of several replicas the first one's counts.
    async fn shared(&self) -> Result<Keeping, String> {
        let name = &self.own.secret_name;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.own.namespace);
        for _ in 0..TRIES {
            let secret = secrets.get_opt(name).await.map_err(|error| said("read the Secret", error))?;
            let known = secret.as_ref().map(|secret| self.known(secret)).transpose()?.flatten();
            let renewed = Keeping::renewed(known.as_ref(), &self.own.names(), &self.lives, Utc::now())?;
            let Some(renewed) = renewed else {
                // Nothing was due, so there is something.
                return known.ok_or_else(|| "there is no certificate".into());
            };
            let state = serde_json::to_vec(&renewed).map_err(|error| error.to_string())?;
            let data = [(STATE, state), (BUNDLE, renewed.bundle().into_bytes())];
            let data = data.map(|(key, bytes)| (key.to_owned(), ByteString(bytes)));
            let by = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            let written = match secret {
                None => {
                    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
                    let data = Some(BTreeMap::from(data));
                    secrets.create(&by, &Secret { metadata, data, ..Secret::default() }).await
                }
                // It holds the version that was read, so that what another replica wrote since is not lost.
                Some(mut secret) => {
                    secret.data.get_or_insert_default().extend(data);
                    secrets.replace(name, &by, &secret).await
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!(until = ?renewed.until(), "the certificate of admission was renewed");
                    return Ok(renewed);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(said("write the Secret", error)),
            }
        }
        Err(format!("others write the Secret `{name}` all the time"))
    }

    /// What a Secret holds; nothing where it is empty. One that holds something else is somebody else's.
    fn known(&self, secret: &Secret) -> Result<Option<Keeping>, String> {
        let Some(data) = secret.data.as_ref().filter(|data| !data.is_empty()) else { return Ok(None) };
        let keeping = data.get(STATE).and_then(|state| serde_json::from_slice(&state.0).ok());
        keeping.map(Some).ok_or_else(|| {
            let name = &self.own.secret_name;
            format!("the Secret `{name}` holds something else: name another one in `secretName`, or delete it")
        })
    }

    /// Tells the configuration of the webhook which authorities count, where it does not know.
    async fn tell(&self, bundle: &str) -> Result<(), String> {
        let name = &self.webhook;
        let all: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let doing = |what: &str| format!("{what} the ValidatingWebhookConfiguration `{name}`");
        let known = all.get(name).await.map_err(|error| said(&doing("read"), error))?;
        let hooks = known.webhooks.unwrap_or_default();
        let does_not_know =
            |bytes: &Option<ByteString>| bytes.as_ref().is_none_or(|bytes| bytes.0 != bundle.as_bytes());
        let ignorant = hooks.iter().filter(|hook| does_not_know(&hook.client_config.ca_bundle));
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let told = |name: &String| json!({ "name": name, "clientConfig": { "caBundle": bundle } });
        let told: Vec<_> = ignorant.map(|hook| told(&hook.name)).collect();
        if told.is_empty() {
            return Ok(());
        }
        // Lists of it are merged by name. The version is a condition: whoever was faster is looked at in the next step.
        let patch = json!({ "metadata": { "resourceVersion": known.metadata.resource_version }, "webhooks": told });
        let by = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patched = all.patch(name, &by, &Patch::Strategic(&patch)).await;
        patched.map(drop).map_err(|error| said(&doing("change"), error))
    }
}

fn said(doing: &str, error: kube::Error) -> String {
    format!("cannot {doing}: {}", Fault::from(error).message)
}
