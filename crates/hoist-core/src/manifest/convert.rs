//! From what a manifest says to what the planner needs of a release.

use std::collections::BTreeMap;

use super::Manifest;
use crate::id::{BuildId, ReleaseId, ServiceName};
use crate::model::{self, Fingerprint, Release};

/// A service that the caller computed no fingerprint for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprint for service `{0}`")]
pub struct MissingFingerprint(pub ServiceName);

/// The planner's view of a release of this manifest.
///
/// A fingerprint digests all that a process is started with, which only the caller has together.
///
/// # Errors
/// [`MissingFingerprint`] when a service has none.
pub fn to_release(
    manifest: &Manifest,
    id: ReleaseId,
    build: BuildId,
    fingerprints: &BTreeMap<ServiceName, Fingerprint>,
) -> Result<Release, MissingFingerprint> {
    let service = |(name, service): &(ServiceName, super::Service)| {
        let fingerprint = *fingerprints
            .get(name)
            .ok_or_else(|| MissingFingerprint(name.clone()))?;
        let planned = model::Service {
            routed: service.port.is_some(),
            strategy: service.strategy,
            start_limit: service.start_limit,
            drain_limit: service.drain_limit,
            count: service.count,
            memory_bytes: service.memory_bytes,
            fingerprint,
        };
        Ok((name.clone(), planned))
    };
    Ok(Release {
        id,
        build,
        has_release_command: manifest.release_command.is_some()
            || manifest.app_json.first_deploy.is_some(),
        has_postdeploy: manifest.app_json.postdeploy.is_some(),
        services: manifest
            .services
            .iter()
            .map(service)
            .collect::<Result<_, _>>()?,
    })
}
