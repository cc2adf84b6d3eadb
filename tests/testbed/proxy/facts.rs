//! What the judge and the checks need to know about resources: moto, asked as the caller's account.

use crate::AnyError;
use crate::sessions::Caller;
use crate::upstream::Upstream;
use crate::xml;

/// moto, asked as the caller's account.
pub struct Facts<'a> {
    /// Where moto is.
    pub upstream: &'a Upstream,
    /// Who asks.
    pub caller: &'a Caller,
    /// The call's region.
    pub region: &'a str,
}

/// A resource of a VPC.
pub struct Resource {
    /// Its VPC.
    pub vpc: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// A network interface.
pub struct Interface {
    /// Its VPC and tags.
    pub resource: Resource,
    /// The instance that it is attached to.
    pub instance: Option<String>,
    /// Whether it is one of AWS's own.
    pub requester_managed: bool,
}

/// An instance.
pub struct Instance {
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// How many interfaces it has.
    pub interfaces: usize,
    /// Whether it is a Spot instance.
    pub spot: bool,
    /// Its block devices: device name and volume.
    pub devices: Vec<(String, String)>,
}

/// An Auto Scaling group.
pub struct Group {
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

impl Facts<'_> {
    async fn ask(
        &self,
        service: &str,
        version: &str,
        action: &str,
        name: &str,
        value: &str,
    ) -> Result<String, AnyError> {
        let pairs = [("Action", action), ("Version", version), (name, value)];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.upstream
            .ask(&self.caller.account, self.region, service, &pairs)
            .await
    }

    async fn describe(&self, action: &str, name: &str, value: &str) -> Result<String, AnyError> {
        self.ask("ec2", "2016-11-15", action, name, value).await
    }

    /// A security group, if it exists.
    pub async fn group(&self, id: &str) -> Result<Option<Resource>, AnyError> {
        let answer = self.describe("DescribeSecurityGroups", "GroupId.1", id).await?;
        Ok(resource(&answer))
    }

    /// An interface, if it exists.
    pub async fn interface(&self, id: &str) -> Result<Option<Interface>, AnyError> {
        let answer = self
            .describe("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id)
            .await?;
        Ok(resource(&answer).map(|resource| Interface {
            resource,
            instance: xml::text(&answer, "instanceId").map(str::to_owned),
            requester_managed: xml::text(&answer, "requesterManaged") == Some("true"),
        }))
    }

    /// A network ACL, if it exists.
    pub async fn network_acl(&self, id: &str) -> Result<Option<Resource>, AnyError> {
        Ok(resource(&self.network_acl_xml(id).await?))
    }

    /// A network ACL as it is described.
    pub async fn network_acl_xml(&self, id: &str) -> Result<String, AnyError> {
        self.describe("DescribeNetworkAcls", "NetworkAclId.1", id).await
    }

    /// An instance, if it exists.
    pub async fn instance(&self, id: &str) -> Result<Option<Instance>, AnyError> {
        let answer = self.describe("DescribeInstances", "InstanceId.1", id).await?;
        if xml::text(&answer, "instancesSet").is_none() {
            return Ok(None);
        }
        let devices = xml::items(&answer, "blockDeviceMapping", "item").into_iter();
        Ok(Some(Instance {
            tags: tags(&answer, "tagSet", "item", "key", "value"),
            interfaces: xml::texts(&answer, "networkInterfaceId").count(),
            spot: xml::text(&answer, "instanceLifecycle") == Some("spot"),
            devices: devices
                .filter_map(|device| {
                    let volume = xml::text(device, "volumeId")?;
                    Some((xml::text(device, "deviceName")?.to_owned(), volume.to_owned()))
                })
                .collect(),
        }))
    }

    /// The tags of a volume.
    pub async fn volume_tags(&self, id: &str) -> Result<Vec<(String, String)>, AnyError> {
        let answer = self.describe("DescribeVolumes", "VolumeId.1", id).await?;
        Ok(tags(&answer, "tagSet", "item", "key", "value"))
    }

    /// An Auto Scaling group, if it exists.
    pub async fn scaling_group(&self, name: &str) -> Result<Option<Group>, AnyError> {
        let (action, parameter) = ("DescribeAutoScalingGroups", "AutoScalingGroupNames.member.1");
        let answer = self.ask("autoscaling", "2011-01-01", action, parameter, name).await?;
        Ok(xml::text(&answer, "AutoScalingGroupARN").map(|arn| Group {
            arn: arn.to_owned(),
            tags: tags(&answer, "Tags", "member", "Key", "Value"),
        }))
    }
}

/// The one resource of an answer to a Describe.
fn resource(answer: &str) -> Option<Resource> {
    Some(Resource {
        vpc: xml::text(answer, "vpcId")?.to_owned(),
        tags: tags(answer, "tagSet", "item", "key", "value"),
    })
}

fn tags(answer: &str, list: &str, item: &str, key: &str, value: &str) -> Vec<(String, String)> {
    xml::items(answer, list, item)
        .into_iter()
        .filter_map(|tag| {
            let value = xml::text(tag, value).unwrap_or_default();
            Some((xml::text(tag, key)?.to_owned(), value.to_owned()))
        })
        .collect()
}
