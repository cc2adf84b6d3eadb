//! The caller's own credentials, and what a failed call means for whoever sits before the screen.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use entity_lockdown::arn::Region;
use entity_lockdown::aws::{Failure, Reason};
use entity_lockdown::journal::dynamo::Table;
use entity_lockdown::journal::{Journal, JournalError};

use crate::profile;
use crate::trouble::Trouble;

/// What works as credentials, for the help.
pub const CREDENTIALS: &str = "\
AWS credentials are your own, found as the aws command finds them: AWS_ACCESS_KEY_ID and its companions, AWS_PROFILE and the \
profile files (keys, role_arn with source_profile, web identity), and the roles of containers and instances. For IAM Identity \
Center (SSO), `aws login`, MFA and credential_process, let the aws command write them down first:
  eval \"$(aws configure export-credentials --profile NAME --format env)\"
HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and AWS_ENDPOINT_URL are honoured.";

/// How long a person waits for one answer of the journal.
const PATIENCE: Duration = Duration::from_secs(15);

/// One HTTP client for the process; other than the function's it goes through the proxy that the environment names.
fn http_client() -> SharedHttpClient {
    let made = OnceLock::<SharedHttpConnector>::new();
    http_client_fn(move |settings, components| {
        made.get_or_init(|| {
            let mut connector = Connector::builder()
                .connector_settings(settings.clone())
                .proxy_config(ProxyConfig::from_env());
            connector.set_sleep_impl(components.sleep_impl());
            SharedHttpConnector::new(connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
        })
        .clone()
    })
}

/// The configuration of all clients, with credentials that are known to be there.
///
/// # Errors
/// No region, no credentials, or no authorities to trust.
pub async fn connect(region: Option<&Region>) -> Result<SdkConfig, Trouble> {
    let config = load(region, None).await?;
    require_region(&config, "name the hub's with --region, or set AWS_REGION")?;
    let Some(provider) = config.credentials_provider() else {
        return Err(no_credentials("none is configured"));
    };
    provider.provide_credentials().await.map_err(|error| match &error {
        CredentialsError::CredentialsNotLoaded(_) => no_credentials("none were found"),
        error => no_credentials(&why(error)),
    })?;
    Ok(config)
}

/// The configuration for the journal of another account: with a profile's credentials, and in the region that is named, the
/// profile's own, or that of the configuration at large.
///
/// # Errors
/// As of [`connect`].
pub async fn connect_to_journal(profile: Option<&str>, region: Option<&Region>) -> Result<SdkConfig, Trouble> {
    let Some(profile) = profile else {
        let config = load(region, None).await?;
        return require_region(&config, "name the hub's with --journal-region, or set AWS_REGION").map(|()| config);
    };
    let own = match region {
        Some(_) => None,
        None => profile::region(profile).await,
    };
    let config = load(region.or(own.as_ref()), Some(profile)).await?;
    let remedy = format!("the profile `{profile}` names none, or does not exist: name the hub's with --journal-region");
    require_region(&config, &remedy)?;
    let credentials = profile::credentials(profile, &config, http_client()).await?;
    Ok(config.into_builder().credentials_provider(credentials).build())
}

async fn load(region: Option<&Region>, profile: Option<&str>) -> Result<SdkConfig, Trouble> {
    check_authorities(std::env::var_os("SSL_CERT_FILE"))?;
    let times = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(60))
        .operation_timeout(Duration::from_secs(150))
        .build();
    let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(times)
        .retry_config(RetryConfig::standard().with_max_attempts(4));
    if let Some(region) = region {
        loader = loader.region(sdk_region(region));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    Ok(loader.load().await)
}

/// A region in the SDK's type.
pub fn sdk_region(region: &Region) -> aws_config::Region {
    aws_config::Region::new(region.as_str().to_owned())
}

fn require_region(config: &SdkConfig, remedy: &str) -> Result<(), Trouble> {
    let named = config.region().is_some_and(|region| !region.as_ref().is_empty());
    named
        .then_some(())
        .ok_or_else(|| Trouble::usage(format!("no region: {remedy}")))
}

/// The HTTP client takes a file without certificates for a mistake of the program, and panics.
fn check_authorities(file: Option<OsString>) -> Result<(), Trouble> {
    let Some(file) = file.map(PathBuf::from) else {
        return Ok(());
    };
    match std::fs::read_to_string(&file) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
        Ok(_) => Err(Trouble::usage(format!(
            "SSL_CERT_FILE names `{}`, which holds no certificate (PEM)",
            file.display()
        ))),
        Err(error) => Err(Trouble::usage(format!(
            "SSL_CERT_FILE names `{}`, which can't be read: {error}",
            file.display()
        ))),
    }
}

fn no_credentials(why: &str) -> Trouble {
    Trouble::out_of_reach(format!(
        "no AWS credentials ({why}): set AWS_PROFILE or AWS_ACCESS_KEY_ID; for IAM Identity Center, MFA and the like run \
         `eval \"$(aws configure export-credentials --format env)\"` first"
    ))
}

/// Why there are no credentials. The SDK's word for a source that this command is built without speaks of cargo.
pub fn why(error: &CredentialsError) -> String {
    let why = innermost(error);
    if why.contains("feature") {
        "the profile's source of credentials is one that this command does not know".to_owned()
    } else {
        why
    }
}

/// What the deepest cause of an error says: those around it tell where, not what.
fn innermost(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The journal in this table.
///
/// # Errors
/// No region, or no credentials.
pub async fn journal(table: &str, region: Option<&Region>) -> Result<Journal, Trouble> {
    let config = connect(region).await?;
    Ok(journal_with(&config, table))
}

/// The journal in this table, by a configuration that is at hand.
pub fn journal_with(config: &SdkConfig, table: &str) -> Journal {
    let client = aws_sdk_dynamodb::Client::new(config);
    Journal::Dynamo(Table::new(client, table, "your own").with_patience(PATIENCE))
}

/// Says what a failure of the journal means.
pub fn journal_trouble(error: &JournalError) -> Trouble {
    match error {
        JournalError::Unreachable(failure) => explain(failure),
        JournalError::Unreadable { .. } => Trouble::failed(error.to_string()),
        JournalError::Conflict | JournalError::Busy | JournalError::Changed(_) => {
            Trouble::failed(format!("{error}: look at what is there now, and try again"))
        }
    }
}

/// Says what a failed call means: its own remedy speaks of the member role, and this is about the caller.
pub fn explain(failure: &Failure) -> Trouble {
    let Failure {
        call,
        resource,
        code,
        message,
        ..
    } = failure;
    let said = if message.is_empty() {
        code.clone()
    } else {
        format!("{code}: {message}")
    };
    match (code.as_str(), failure.reason) {
        ("ResourceNotFoundException" | "NotFound" | "NotFoundException", _) | (_, Reason::Absent) => {
            Trouble::not_found(format!(
                "`{resource}` does not exist ({call}: {said}): check its name, the region and the account of your credentials"
            ))
        }
        (
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken",
            _,
        ) => Trouble::out_of_reach(format!(
            "AWS does not accept your credentials ({call}: {said}): renew them, and check AWS_PROFILE"
        )),
        // EC2's word for bad credentials, and for good ones in a region that the account has not enabled.
        ("AuthFailure" | "OptInRequired", _) => Trouble::out_of_reach(format!(
            "AWS does not accept your credentials ({call}: {said}): renew them, check AWS_PROFILE, and that the region is \
             enabled in the account"
        )),
        ("AuthorizationError" | "KMSAccessDenied" | "KMSAccessDeniedException", _) | (_, Reason::Denied) => {
            Trouble::out_of_reach(format!(
                "your credentials may not do {call} on `{resource}` ({said}). {}",
                rights(call)
            ))
        }
        ("NotReached" | "TimedOut", _) => Trouble::out_of_reach(format!(
            "AWS was not reached ({call} on `{resource}`: {said}): check the network, the region, HTTPS_PROXY and AWS_ENDPOINT_URL"
        )),
        (_, Reason::Passing) => {
            Trouble::out_of_reach(format!("AWS is busy ({call} on `{resource}`: {said}): try again"))
        }
        _ => Trouble::out_of_reach(format!("AWS refused {call} on `{resource}` ({said})")),
    }
}

fn rights(call: &str) -> &'static str {
    match call {
        "sns:Publish" => {
            "Publishing takes sns:Publish on the topic, kms:GenerateDataKey and kms:Decrypt on its key, and, from another account, \
             an entry in the parameter Publishers of the hub's template"
        }
        "dynamodb:Query" => "Listing takes dynamodb:Query on the table's index `open`, and kms:Decrypt on its key",
        "dynamodb:TransactWriteItems" => {
            "Importing takes dynamodb:GetItem, BatchGetItem, PutItem, UpdateItem and DeleteItem on the table, and \
             kms:Decrypt and kms:GenerateDataKey on its key"
        }
        "ec2:DeleteSecurityGroup" => {
            "Cleaning takes ec2:DeleteSecurityGroup on our groups (tag `entity-lockdown`). A service control policy that leaves \
             them to the member role has to let your role in as well"
        }
        "ec2:DeleteNetworkAclEntry" => "Cleaning takes ec2:DeleteNetworkAclEntry on the account's network ACLs",
        call if call.starts_with("ec2:") => {
            "Cleaning reads with ec2:DescribeSecurityGroups and DescribeNetworkInterfaces, and, for the entries that the journal \
             names, with ec2:DescribeInstances and DescribeNetworkAcls"
        }
        _ => "Reading takes dynamodb:GetItem and BatchGetItem on the table, and kms:Decrypt on its key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble::Exit;

    #[test]
    fn each_failure_names_what_the_caller_can_do_and_never_the_member_role() {
        for (code, exit, part) in [
            ("AuthorizationError", Exit::OutOfReach, "Publishers"),
            ("AccessDenied", Exit::OutOfReach, "sns:Publish on the topic"),
            ("NotFound", Exit::NotFound, "does not exist"),
            ("ExpiredToken", Exit::OutOfReach, "renew"),
            ("InvalidClientTokenId", Exit::OutOfReach, "renew"),
            ("NotReached", Exit::OutOfReach, "network"),
            ("Throttling", Exit::OutOfReach, "sns:Publish"),
            ("InvalidParameter", Exit::OutOfReach, "refused"),
            ("AuthFailure", Exit::OutOfReach, "enabled in the account"),
        ] {
            let mut failure = Failure::own("sns:Publish", "topic", "your own", code, "no");
            if code == "AccessDenied" {
                failure.reason = Reason::Denied;
            }
            let said = explain(&failure);
            assert_eq!(said.exit, exit, "{said}");
            assert!(said.text.contains(part) && !said.text.contains("member role"), "{said}");
        }
    }
}
