//! The credentials of a named profile beside one's own: two accounts in one command.

use std::io::ErrorKind;
use std::process::Command;

use aws_config::SdkConfig;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use entity_lockdown::arn::Region;
use serde::Deserialize;

use crate::aws::why;
use crate::trouble::Trouble;

/// The region that a profile names, if it names one.
pub async fn region(profile: &str) -> Option<Region> {
    let provider = ProfileFileRegionProvider::builder().profile_name(profile).build();
    provider.region().await?.as_ref().parse().ok()
}

/// The credentials of a profile: read from the profile files, or, where their source is one that only the aws command knows (IAM
/// Identity Center, `aws login`, MFA, credential_process), asked of the aws command. The environment's own credentials, which
/// come before any profile elsewhere, have no say.
///
/// # Errors
/// Neither has any.
pub async fn credentials(
    profile: &str,
    config: &SdkConfig,
    http_client: SharedHttpClient,
) -> Result<SharedCredentialsProvider, Trouble> {
    let settings = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_http_client(http_client);
    let provider = ProfileFileCredentialsProvider::builder()
        .configure(&settings)
        .profile_name(profile)
        .build();
    let Err(error) = provider.provide_credentials().await else {
        return Ok(SharedCredentialsProvider::new(provider));
    };
    match from_aws_command("aws", profile) {
        Ok(credentials) => Ok(SharedCredentialsProvider::new(credentials)),
        Err(also) => Err(Trouble::out_of_reach(format!(
            "no AWS credentials in the profile `{profile}` ({}; {also}): check its name (aws configure list-profiles), and log in \
             (aws sso login --profile {profile})",
            why(&error)
        ))),
    }
}

/// What `aws configure export-credentials` writes (AWS CLI Command Reference: the format `process`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Asks the aws command. What it answers is never shown: it holds secrets.
fn from_aws_command(aws: &str, profile: &str) -> Result<Credentials, String> {
    let line = [
        "configure",
        "export-credentials",
        "--profile",
        profile,
        "--format",
        "process",
    ];
    let ran = Command::new(aws)
        .args(line)
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "the aws command, which may know more, is not installed".to_owned(),
            _ => format!("the aws command can't be run: {error}"),
        })?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        return Err(format!("the aws command says: {}", last.trim()));
    }
    let exported: Exported = serde_json::from_slice(&ran.stdout)
        .map_err(|_| "the aws command is too old to export credentials".to_owned())?;
    Ok(Credentials::new(
        exported.access_key_id,
        exported.secret_access_key,
        exported.session_token,
        None,
        "aws-command",
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An aws command that does this.
    fn aws(name: &str, script: &str) -> String {
        let path = std::env::temp_dir().join(format!("lockdown-aws-{}-{name}", std::process::id()));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn the_aws_command_is_asked_for_the_profile_and_its_answer_read() {
        let script = r#"[ "$*" = "configure export-credentials --profile hub --format process" ] &&
            echo '{"Version": 1, "AccessKeyId": "AKIA1", "SecretAccessKey": "s", "SessionToken": "t"}'"#;
        let path = aws("good", script);
        let found = from_aws_command(&path, "hub").expect("credentials");
        assert_eq!((found.access_key_id(), found.session_token()), ("AKIA1", Some("t")));
        assert!(from_aws_command(&path, "another").is_err());
        std::fs::remove_file(path).expect("a file");
    }

    #[test]
    fn what_keeps_it_from_answering_is_said_and_never_what_it_answered() {
        let failing = aws(
            "failing",
            "echo secret; echo 'first line' >&2; echo 'Token has expired' >&2; exit 255",
        );
        let odd = aws("odd", "echo not-json-but-secret");
        for (command, part) in [
            (failing.as_str(), "says: Token has expired"),
            (odd.as_str(), "too old"),
            ("/nowhere/at/all/aws", "not installed"),
        ] {
            let said = from_aws_command(command, "hub").expect_err("an error");
            assert!(said.contains(part) && !said.contains("secret"), "{said}");
        }
        for path in [failing, odd] {
            std::fs::remove_file(path).expect("a file");
        }
    }
}
