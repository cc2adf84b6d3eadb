//! Sessions of the member role, one an account, and the clients that act with them.

use std::cell::{LazyCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::config::SharedCredentialsProvider;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::Mutex;

use crate::arn::{AccountId, Partition, Region};
use crate::aws::failure::SdkError;
use crate::aws::{Failure, Reason};

/// A session is renewed when less than this is left of it: what is begun with it can go on for the function's whole time limit,
/// 15 minutes. A session lasts an hour, being chained (IAM User Guide, "Roles terms and concepts": role chaining).
const RENEW_BEFORE: Duration = Duration::from_secs(16 * 60);

/// A client, made when it is first used: most entities need one of the six, and making one takes as long as half a call.
pub type Made<T> = Rc<LazyCell<T, Box<dyn FnOnce() -> T>>>;

fn when_used<T: 'static>(config: &Rc<SdkConfig>, make: fn(&SdkConfig) -> T) -> Made<T> {
    let config = Rc::clone(config);
    Rc::new(LazyCell::new(Box::new(move || make(&config))))
}

/// What acts in one account and region, as the member role.
#[derive(Debug, Clone)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// Its partition.
    pub partition: Partition,
    /// The region of the regional clients.
    pub region: Region,
    /// IAM.
    pub iam: Made<aws_sdk_iam::Client>,
    /// Lambda.
    pub lambda: Made<aws_sdk_lambda::Client>,
    /// EC2.
    pub ec2: Made<aws_sdk_ec2::Client>,
    /// EC2 Auto Scaling.
    pub auto_scaling: Made<aws_sdk_autoscaling::Client>,
    /// CloudTrail.
    pub trail: Made<aws_sdk_cloudtrail::Client>,
    /// Security Hub.
    pub security_hub: Made<aws_sdk_securityhub::Client>,
}

impl Member {
    /// The clients of one session.
    pub fn new(account: AccountId, partition: Partition, region: Region, config: SdkConfig) -> Self {
        let config = &Rc::new(config);
        Self {
            account,
            partition,
            region,
            iam: when_used(config, aws_sdk_iam::Client::new),
            lambda: when_used(config, aws_sdk_lambda::Client::new),
            ec2: when_used(config, aws_sdk_ec2::Client::new),
            auto_scaling: when_used(config, aws_sdk_autoscaling::Client::new),
            trail: when_used(config, aws_sdk_cloudtrail::Client::new),
            security_hub: when_used(config, aws_sdk_securityhub::Client::new),
        }
    }

    /// The ARN of the managed policy that denies everything.
    pub fn deny_all(&self) -> String {
        format!("arn:{}:iam::aws:policy/AWSDenyAll", self.partition)
    }

    /// A failed call of this account.
    pub fn failure<E: aws_smithy_types::error::metadata::ProvideErrorMetadata>(
        &self,
        call: &'static str,
        resource: impl Into<String>,
        error: &SdkError<E>,
    ) -> Failure {
        Failure::of(call, resource, self.account.as_str(), error)
    }
}

/// A session's slot: whoever comes first assumes the role, the others wait for it.
type Slot = Rc<Mutex<Option<Credentials>>>;

/// The sessions and clients of all accounts, kept between messages.
#[derive(Debug)]
pub struct Accounts {
    base: SdkConfig,
    sts: aws_sdk_sts::Client,
    role: String,
    session_name: String,
    sessions: RefCell<HashMap<AccountId, Slot>>,
    members: RefCell<HashMap<(AccountId, Region), (SystemTime, Member)>>,
}

impl Accounts {
    /// Sessions of `role` in any account, made with the credentials of `base`; the session's name tells the hub's account.
    pub fn new(base: SdkConfig, role: &str, hub: &AccountId) -> Self {
        Self {
            sts: aws_sdk_sts::Client::new(&base),
            role: role.to_owned(),
            session_name: format!("entity-lockdown-{hub}"),
            sessions: RefCell::default(),
            members: RefCell::default(),
            base,
        }
    }

    /// What acts in this account and region. The role is assumed unless a session is at hand.
    pub async fn member(&self, partition: Partition, account: &AccountId, region: &Region) -> Result<Member, Failure> {
        let key = (account.clone(), region.clone());
        if let Some((renew_at, member)) = self.members.borrow().get(&key)
            && *renew_at > SystemTime::now()
        {
            return Ok(member.clone());
        }
        let credentials = self.credentials(partition, account).await?;
        let renew_at = renew_at(&credentials);
        let config = self
            .base
            .clone()
            .into_builder()
            .region(aws_config::Region::new(region.as_str().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let member = Member::new(account.clone(), partition, region.clone(), config);
        self.members.borrow_mut().insert(key, (renew_at, member.clone()));
        Ok(member)
    }

    async fn credentials(&self, partition: Partition, account: &AccountId) -> Result<Credentials, Failure> {
        let slot = Rc::clone(self.sessions.borrow_mut().entry(account.clone()).or_default());
        let mut held = slot.lock().await;
        if let Some(credentials) = held
            .as_ref()
            .filter(|credentials| renew_at(credentials) > SystemTime::now())
        {
            return Ok(credentials.clone());
        }
        let role = format!("arn:{partition}:iam::{account}:role/{}", self.role);
        let answer = self
            .sts
            .assume_role()
            .role_arn(&role)
            .role_session_name(&self.session_name)
            .send()
            .await;
        let credentials = answer
            .map_err(|error| {
                let mut failure = Failure::of("sts:AssumeRole", &role, account.as_str(), &error);
                if !failure.passes() {
                    failure.reason = Reason::NoMemberRole;
                }
                failure
            })?
            .credentials
            .and_then(|credentials| {
                let expires = SystemTime::try_from(credentials.expiration).ok()?;
                let (id, key, token) = (
                    credentials.access_key_id,
                    credentials.secret_access_key,
                    credentials.session_token,
                );
                Some(Credentials::new(id, key, Some(token), Some(expires), "member-role"))
            })
            .ok_or_else(|| {
                Failure::own(
                    "sts:AssumeRole",
                    role,
                    account.as_str(),
                    "NoCredentials",
                    "STS answered without credentials",
                )
            })?;
        *held = Some(credentials.clone());
        Ok(credentials)
    }
}

fn renew_at(credentials: &Credentials) -> SystemTime {
    credentials
        .expiry()
        .and_then(|expiry| expiry.checked_sub(RENEW_BEFORE))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The configuration that every client shares: one HTTP client, retries, and times that leave room for a retry.
///
/// The retries are standard ones, not adaptive: those slow every call to a service down once one of its calls was throttled, in
/// all accounts alike, so that whoever uses up one call's quota in one account would hold the deny up everywhere.
pub async fn shared_config(attempt: Duration) -> SdkConfig {
    let times = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 4)
        .build();
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .http_client(http_client())
        .timeout_config(times)
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .load()
        .await
}

/// One HTTP client for the process, so that connections are shared.
pub fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outlasts_the_invocation_that_it_is_taken_for() {
        let now = SystemTime::now();
        for (minutes, usable) in [(60, true), (17, true), (15, false), (0, false)] {
            let expires = now + Duration::from_secs(minutes * 60);
            let credentials = Credentials::new("A", "S", None, Some(expires), "test");
            assert_eq!(renew_at(&credentials) > now, usable, "{minutes}");
        }
    }
}
