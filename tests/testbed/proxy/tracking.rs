//! Connection-tracking timeouts, which moto takes and doesn't give back.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::answer::Refusal;
use crate::call::Call;

/// Parameter under `ConnectionTrackingSpecification`, element in answers, bounds in seconds (Amazon EC2 API Reference,
/// ConnectionTrackingSpecificationRequest).
const TIMEOUTS: [(&str, &str, std::ops::RangeInclusive<u32>); 3] = [
    ("TcpEstablishedTimeout", "tcpEstablishedTimeout", 60..=432_000),
    ("UdpStreamTimeout", "udpStreamTimeout", 60..=180),
    ("UdpTimeout", "udpTimeout", 30..=60),
];

/// The settings of each interface, by element name.
#[derive(Default)]
pub struct Tracking {
    by_interface: Mutex<HashMap<String, HashMap<&'static str, u32>>>,
}

impl Tracking {
    /// Keeps what a `ModifyNetworkInterfaceAttribute` sets; a value out of its bounds is refused.
    pub fn set(&self, call: &Call) -> Result<(), Refusal> {
        let mut values = HashMap::new();
        for (parameter, element, bounds) in &TIMEOUTS {
            let Some(text) = call.params.get(&format!("ConnectionTrackingSpecification.{parameter}")) else {
                continue;
            };
            let value = text.parse().ok().filter(|value| bounds.contains(value));
            let value = value.ok_or_else(|| {
                Refusal::bad(
                    "InvalidParameterValue",
                    format!("Value ({text}) for parameter {parameter} is invalid."),
                )
            })?;
            values.insert(*element, value);
        }
        let mut interfaces = self.by_interface.lock().unwrap_or_else(PoisonError::into_inner);
        interfaces
            .entry(call.param("NetworkInterfaceId").to_owned())
            .or_default()
            .extend(values);
        Ok(())
    }

    /// Adds the settings to every interface of an answer.
    pub fn inject(&self, mut xml: String) -> String {
        let interfaces = self.by_interface.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, values) in interfaces.iter().filter(|(_, values)| !values.is_empty()) {
            let mut inside = String::new();
            for (_, element, _) in &TIMEOUTS {
                if let Some(value) = values.get(element) {
                    // Writing to a string can't fail.
                    let _ = write!(inside, "<{element}>{value}</{element}>");
                }
            }
            let at = format!("<networkInterfaceId>{id}</networkInterfaceId>");
            let with = format!("{at}<connectionTrackingConfiguration>{inside}</connectionTrackingConfiguration>");
            xml = xml.replace(&at, &with);
        }
        xml
    }
}
