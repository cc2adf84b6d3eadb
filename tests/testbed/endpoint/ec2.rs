//! EC2: one instance with some interfaces in one subnet, its attributes, and the security groups of its VPC.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::Call;
use crate::iam::{ACCOUNT, ROLE};
use crate::reply::{self, Outcome, Refused, UNKNOWN};
use crate::xml::escape;

const VPC: &str = "vpc-0be0c000000000000";
const SUBNET: &str = "subnet-0be0c000000000000";
const VOLUME: &str = "vol-0be0c000000000000";

/// The EC2 of the member account.
pub struct Ec2 {
    interfaces: Vec<Interface>,
    groups: Vec<Group>,
    protected: String,
    shutdown: String,
    deleted: String,
}

#[derive(Clone)]
struct Interface {
    id: String,
    address: String,
    groups: Vec<String>,
    timeouts: BTreeMap<&'static str, String>,
}

struct Group {
    id: String,
    name: String,
    tag: (String, String),
    /// Ranges that may come in, and that may be gone to, all protocols.
    rules: [BTreeSet<String>; 2],
}

impl Ec2 {
    /// An instance with so many interfaces, none of them isolated, in a VPC without groups of ours.
    pub fn new(interfaces: usize) -> Self {
        let interface = |n: usize| Interface {
            id: format!("eni-0be0c{n:012}"),
            address: format!("10.0.0.{}", n + 10),
            groups: vec!["sg-0be0c0000000000ff".to_owned()],
            timeouts: BTreeMap::new(),
        };
        Self {
            interfaces: (0..interfaces).map(interface).collect(),
            groups: vec![],
            protected: "false".to_owned(),
            shutdown: "terminate".to_owned(),
            deleted: "true".to_owned(),
        }
    }

    /// Answers a call.
    pub fn answer(&mut self, call: &Call) -> Outcome {
        let action = call.action.as_str();
        let result = match action {
            "DescribeInstances" => self.instance(call.param("InstanceId.1")),
            "DescribeInstanceAttribute" => self.attribute(call.param("Attribute"))?,
            "ModifyInstanceAttribute" => self.set_attribute(call)?,
            "DescribeNetworkInterfaces" => self.list_interfaces(call),
            "ModifyNetworkInterfaceAttribute" => self.set_interface(call)?,
            "DescribeSecurityGroups" => self.list_groups(call),
            "CreateSecurityGroup" => self.create_group(call),
            "AuthorizeSecurityGroupIngress" => self.rules(call, 0, true)?,
            "AuthorizeSecurityGroupEgress" => self.rules(call, 1, true)?,
            "RevokeSecurityGroupIngress" => self.rules(call, 0, false)?,
            "RevokeSecurityGroupEgress" => self.rules(call, 1, false)?,
            "DescribeRouteTables" => format!(
                "<routeTableSet><item><routeTableId>rtb-1</routeTableId><vpcId>{VPC}</vpcId><routeSet><item>\
                 <destinationCidrBlock>10.0.0.0/16</destinationCidrBlock><gatewayId>local</gatewayId><state>active</state>\
                 </item></routeSet><associationSet><item><main>true</main></item></associationSet></item></routeTableSet>"
            ),
            "DescribeNetworkAcls" => format!(
                "<networkAclSet><item><networkAclId>acl-1</networkAclId><vpcId>{VPC}</vpcId><default>true</default>\
                 <entrySet/><associationSet><item><networkAclAssociationId>aclassoc-1</networkAclAssociationId>\
                 <networkAclId>acl-1</networkAclId><subnetId>{SUBNET}</subnetId></item></associationSet></item></networkAclSet>"
            ),
            "DescribeVpcEndpoints" => "<vpcEndpointSet/>".to_owned(),
            _ => return Err(UNKNOWN),
        };
        Ok(reply::ec2(action, &result))
    }

    fn mapping(&self) -> String {
        format!(
            "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>{VOLUME}</volumeId>\
             <deleteOnTermination>{}</deleteOnTermination></ebs></item></blockDeviceMapping>",
            self.deleted
        )
    }

    fn instance(&self, id: &str) -> String {
        format!(
            "<reservationSet><item><instancesSet><item><instanceId>{}</instanceId><instanceState><code>16</code>\
             <name>running</name></instanceState>{}<iamInstanceProfile><arn>arn:aws:iam::{ACCOUNT}:instance-profile/{ROLE}</arn>\
             </iamInstanceProfile></item></instancesSet></item></reservationSet>",
            escape(id),
            self.mapping()
        )
    }

    fn attribute(&self, name: &str) -> Result<String, Refused> {
        let value = match name {
            "disableApiTermination" => &self.protected,
            "instanceInitiatedShutdownBehavior" => &self.shutdown,
            "blockDeviceMapping" => return Ok(self.mapping()),
            _ => return Err(UNKNOWN),
        };
        Ok(format!("<{name}><value>{value}</value></{name}>"))
    }

    fn set_attribute(&mut self, call: &Call) -> Result<String, Refused> {
        let places = [
            ("DisableApiTermination.Value", &mut self.protected),
            ("InstanceInitiatedShutdownBehavior.Value", &mut self.shutdown),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", &mut self.deleted),
        ];
        let (name, place) = places.into_iter().find(|(name, _)| call.has(name)).ok_or(UNKNOWN)?;
        call.param(name).clone_into(place);
        Ok("<return>true</return>".to_owned())
    }

    fn list_interfaces(&self, call: &Call) -> String {
        let ids = call.list("NetworkInterfaceId");
        // By instance: all of them. By VPC and type: those of gateways and endpoints, of which there are none.
        let all = filters(call).contains_key("attachment.instance-id");
        let shown = |interface: &&Interface| all || ids.contains(&interface.id.as_str());
        let items: String = self.interfaces.iter().filter(shown).map(Interface::xml).collect();
        format!("<networkInterfaceSet>{items}</networkInterfaceSet>")
    }

    fn set_interface(&mut self, call: &Call) -> Result<String, Refused> {
        let id = call.param("NetworkInterfaceId");
        let found = self.interfaces.iter_mut().find(|interface| interface.id == id);
        let interface = found.ok_or(Refused(400, "InvalidNetworkInterfaceID.NotFound"))?;
        let groups = call.list("SecurityGroupId");
        if !groups.is_empty() {
            interface.groups = groups.into_iter().map(str::to_owned).collect();
            return Ok("<return>true</return>".to_owned());
        }
        for (element, parameter) in [
            ("tcpEstablishedTimeout", "TcpEstablishedTimeout"),
            ("udpTimeout", "UdpTimeout"),
            ("udpStreamTimeout", "UdpStreamTimeout"),
        ] {
            let value = call.param(&format!("ConnectionTrackingSpecification.{parameter}"));
            interface.timeouts.insert(element, value.to_owned());
        }
        Ok("<return>true</return>".to_owned())
    }

    fn list_groups(&self, call: &Call) -> String {
        let filters = filters(call);
        let shown = |group: &&Group| {
            filters.iter().all(|(name, values)| match name.strip_prefix("tag:") {
                Some(key) => group.tag.0 == key && values.contains(&group.tag.1.as_str()),
                None if name == "vpc-id" => values.contains(&VPC),
                None if name == "group-name" => values.contains(&group.name.as_str()),
                None => name == "group-id" && values.contains(&group.id.as_str()),
            })
        };
        let items: String = self.groups.iter().filter(shown).map(Group::xml).collect();
        format!("<securityGroupInfo>{items}</securityGroupInfo>")
    }

    fn create_group(&mut self, call: &Call) -> String {
        let id = format!("sg-0be0c{:012}", self.groups.len());
        let tag = |part: &str| call.param(&format!("TagSpecification.1.Tag.1.{part}")).to_owned();
        self.groups.push(Group {
            id: id.clone(),
            name: call.param("GroupName").to_owned(),
            tag: (tag("Key"), tag("Value")),
            // As EC2 makes it: everything may go out.
            rules: [BTreeSet::new(), BTreeSet::from(["0.0.0.0/0".to_owned()])],
        });
        format!("<groupId>{id}</groupId>")
    }

    fn rules(&mut self, call: &Call, direction: usize, allow: bool) -> Result<String, Refused> {
        let group = self.groups.iter_mut().find(|group| group.id == call.param("GroupId"));
        let group = group.ok_or(Refused(400, "InvalidGroup.NotFound"))?;
        let rules = group.rules.get_mut(direction).ok_or(UNKNOWN)?;
        let is_range = |name: &str| name.starts_with("IpPermissions.") && name.contains(".Cidr");
        for (_, range) in call.params.iter().filter(|(name, _)| is_range(name)) {
            if allow {
                rules.insert(range.clone());
            } else {
                rules.remove(range);
            }
        }
        Ok("<return>true</return>".to_owned())
    }

    /// What a change is about, for the log: the purpose of the group that an interface is moved into.
    pub fn about(&self, call: &Call) -> String {
        let to = call.param("SecurityGroupId.1");
        let group = self.groups.iter().find(|group| group.id == to);
        group.map(|group| group.tag.1.clone()).unwrap_or_default()
    }
}

/// The values by the filter's name.
fn filters(call: &Call) -> BTreeMap<String, Vec<&str>> {
    (1..)
        .map_while(|n| call.params.get(&format!("Filter.{n}.Name")).map(|name| (n, name)))
        .map(|(n, name)| (name.clone(), call.list(&format!("Filter.{n}.Value"))))
        .collect()
}

impl Interface {
    fn xml(&self) -> String {
        let group = |id: &String| format!("<item><groupId>{}</groupId><groupName>g</groupName></item>", escape(id));
        let groups: String = self.groups.iter().map(group).collect();
        let timeout = |(name, value): (&&str, &String)| format!("<{name}>{value}</{name}>");
        let timeouts: String = self.timeouts.iter().map(timeout).collect();
        let tracking = if timeouts.is_empty() {
            timeouts
        } else {
            format!("<connectionTrackingConfiguration>{timeouts}</connectionTrackingConfiguration>")
        };
        format!(
            "<item><networkInterfaceId>{}</networkInterfaceId><subnetId>{SUBNET}</subnetId><vpcId>{VPC}</vpcId>\
             <privateIpAddress>{}</privateIpAddress><requesterManaged>false</requesterManaged>\
             <interfaceType>interface</interfaceType><groupSet>{groups}</groupSet>{tracking}</item>",
            self.id, self.address
        )
    }
}

impl Group {
    fn xml(&self) -> String {
        let [ingress, egress] = &self.rules;
        format!(
            "<item><groupId>{}</groupId><groupName>{}</groupName><vpcId>{VPC}</vpcId><ipPermissions>{}</ipPermissions>\
             <ipPermissionsEgress>{}</ipPermissionsEgress><tagSet><item><key>{}</key><value>{}</value></item></tagSet></item>",
            self.id,
            escape(&self.name),
            permissions(ingress),
            permissions(egress),
            escape(&self.tag.0),
            escape(&self.tag.1)
        )
    }
}

/// One rule for all protocols with these ranges.
fn permissions(ranges: &BTreeSet<String>) -> String {
    if ranges.is_empty() {
        return String::new();
    }
    let (v6, v4): (Vec<&String>, Vec<&String>) = ranges.iter().partition(|range| range.contains(':'));
    let items = |ranges: Vec<&String>, name: &str| -> String {
        let item = |range: &String| format!("<item><{name}>{}</{name}></item>", escape(range));
        ranges.into_iter().map(item).collect()
    };
    format!(
        "<item><ipProtocol>-1</ipProtocol><ipRanges>{}</ipRanges><ipv6Ranges>{}</ipv6Ranges></item>",
        items(v4, "cidrIp"),
        items(v6, "cidrIpv6")
    )
}
