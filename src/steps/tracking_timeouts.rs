//! Shortens an interface's connection-tracking timeouts, so that what stays tracked is dropped soon.
//!
//! Source: Amazon EC2 User Guide, "Idle connection tracking timeout". Only Nitro instances support it: where it is refused, the
//! refusal is noted and the work goes on.

use aws_sdk_ec2::types::{ConnectionTrackingConfiguration, ConnectionTrackingSpecificationRequest};
use serde::{Deserialize, Serialize};

use super::interface::{Interface, PERMISSIONS};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// Short timeouts on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingTimeouts {
    /// The interface.
    pub interface: Interface,
}

/// The timeouts in force, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Established TCP connections: 60 to 432,000.
    pub tcp: i32,
    /// UDP with traffic in one direction: 30 to 60.
    pub udp: i32,
    /// UDP with more than one exchange: 60 to 180.
    pub udp_stream: i32,
}

/// The shortest that EC2 allows.
const SHORT: Timeouts = Timeouts {
    tcp: 60,
    udp: 30,
    udp_stream: 60,
};

/// What is in force where nothing is set. (On the sixth generation of Nitro TCP begins with 350 s; there is no call that unsets
/// a timeout, so a release sets these.)
const DEFAULT: Timeouts = Timeouts {
    tcp: 432_000,
    udp: 30,
    udp_stream: 180,
};

impl Timeouts {
    /// From what EC2 says of an interface.
    pub fn of(configured: Option<&ConnectionTrackingConfiguration>) -> Self {
        let or = |value: Option<i32>, default| value.unwrap_or(default);
        match configured {
            None => DEFAULT,
            Some(set) => Self {
                tcp: or(set.tcp_established_timeout, DEFAULT.tcp),
                udp: or(set.udp_timeout, DEFAULT.udp),
                udp_stream: or(set.udp_stream_timeout, DEFAULT.udp_stream),
            },
        }
    }
}

impl TrackingTimeouts {
    async fn set(&self, member: &Member, timeouts: Timeouts) -> Result<Receipt, Failure> {
        let specification = ConnectionTrackingSpecificationRequest::builder()
            .tcp_established_timeout(timeouts.tcp)
            .udp_timeout(timeouts.udp)
            .udp_stream_timeout(timeouts.udp_stream)
            .build();
        let call = member
            .ec2
            .modify_network_interface_attribute()
            .network_interface_id(&self.interface.id);
        let answer = call.connection_tracking_specification(specification).send().await;
        let answer = answer
            .map_err(|error| member.failure("ec2:ModifyNetworkInterfaceAttribute", &self.interface.id, &error))?;
        Ok(Receipt::of(&answer))
    }
}

impl Change for TrackingTimeouts {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    const DISPENSABLE: bool = true;
    type State = Timeouts;

    fn resource(&self) -> String {
        self.interface.id.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.interface.instance.clone())
    }

    fn describe(&self) -> String {
        let Timeouts { tcp, udp, udp_stream } = SHORT;
        format!(
            "shorten the {}'s connection tracking (TCP {tcp} s, UDP {udp} s, UDP streams {udp_stream} s)",
            self.interface.label()
        )
    }

    fn describe_undo(&self, before: &Timeouts) -> String {
        let Timeouts { tcp, udp, udp_stream } = before;
        format!(
            "set the {}'s connection tracking back (TCP {tcp} s, UDP {udp} s, UDP streams {udp_stream} s)",
            self.interface.label()
        )
    }

    fn holds(&self, now: &Timeouts) -> bool {
        *now == SHORT
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.interface.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<Timeouts, Failure> {
        let now = self.interface.describe(member).await?;
        Ok(Timeouts::of(now.connection_tracking_configuration()))
    }

    async fn apply(&self, member: &Member, _before: &Timeouts) -> Result<Receipt, Failure> {
        self.set(member, SHORT).await
    }

    async fn undo(&self, member: &Member, before: &Timeouts, _made: Option<&Timeouts>) -> Result<Receipt, Failure> {
        self.set(member, *before).await
    }
}
