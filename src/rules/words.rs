//! The words of the language, the names of fields that AWS documents, and what somebody may have meant by others.

use strsim::osa_distance;

/// Words that can't begin a path unless they stand in quotes.
pub(super) const RESERVED: &[&str] = &[
    "and",
    "or",
    "not",
    "exists",
    "null",
    "true",
    "false",
    "this",
    "envelope",
    "event_type",
];

/// The operators that are words, for suggestions.
pub(super) const OPERATORS: &[&str] = &[
    "in",
    "is",
    "exists",
    "has",
    "like",
    "contains",
    "starts_with",
    "ends_with",
    "cidr",
    "equals_ignore_case",
    "starts_with_ignore_case",
    "ends_with_ignore_case",
];

/// What other languages call an operator.
const ALIASES: &[(&str, &str)] = &[
    ("startswith", "starts_with"),
    ("begins_with", "starts_with"),
    ("beginswith", "starts_with"),
    ("prefix", "starts_with"),
    ("endswith", "ends_with"),
    ("suffix", "ends_with"),
    ("matches", "like"),
    ("wildcard", "like"),
    ("glob", "like"),
    ("regex", "like"),
    ("includes", "contains"),
    ("has_any", "in"),
    ("one_of", "in"),
    ("in_cidr", "cidr"),
    ("equals", "="),
    ("eq", "="),
    ("ne", "!="),
    ("gt", ">"),
    ("gte", ">="),
    ("lt", "<"),
    ("lte", "<="),
    ("isnull", "= null"),
    ("present", "exists"),
];

/// The fields of EventBridge's envelope (Amazon EventBridge User Guide, "Events").
pub(super) const ENVELOPE: &[&str] = &[
    "version",
    "id",
    "detail-type",
    "source",
    "account",
    "time",
    "region",
    "resources",
    "detail",
    "replay-name",
    "ingestion-time",
];

/// The outermost fields of all types of events, each type's in one text.
///
/// Sources: AWS CloudTrail User Guide, "CloudTrail record contents"; Amazon GuardDuty API Reference, `Finding`; AWS Security Hub API
/// Reference, `AwsSecurityFinding`; Open Cybersecurity Schema Framework, "Detection Finding".
const FIELDS: &[&str] = &[
    // CloudTrail
    "addendum additionalEventData apiVersion awsRegion edgeDeviceDetails errorCode errorMessage eventCategory \
     eventContext eventID eventName eventSource eventTime eventType eventVersion insightDetails managementEvent \
     readOnly recipientAccountId requestID requestParameters resources responseElements serviceEventDetails \
     sessionCredentialFromConsole sharedEventID sourceIPAddress tlsDetails userAgent userIdentity \
     vpcEndpointAccountId vpcEndpointId",
    // GuardDuty
    "accountId arn associatedAttackSequenceArn confidence createdAt description id partition region resource \
     schemaVersion service severity title type updatedAt",
    // Security Hub
    "Action AwsAccountId AwsAccountName CompanyName Compliance Confidence CreatedAt Criticality Description Detection \
     FindingProviderFields FirstObservedAt GeneratorDetails GeneratorId Id LastObservedAt Malware Network NetworkPath \
     Note PatchSummary Process ProcessedAt ProductArn ProductFields ProductName RecordState Region RelatedFindings \
     Remediation Resources Sample SchemaVersion Severity SourceUrl ThreatIntelIndicators Threats Title Types \
     UpdatedAt UserDefinedFields VerificationState Vulnerabilities Workflow WorkflowState",
    // OCSF
    "activity_id activity_name category_name category_uid class_name class_uid cloud comment compliance \
     confidence_score device end_time evidences finding_info malware message metadata observables remediation \
     severity_id start_time status status_id time time_dt type_name type_uid unmapped vendor_attributes \
     vulnerabilities",
];

/// Of several words the one that was meant, if one is near.
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let allowed = match word.len() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let word = plain(word);
    let distances = words
        .into_iter()
        .map(|other| (osa_distance(&word, &plain(other)), other));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= allowed).then_some(nearest)
}

/// The operator that was meant by a word or by signs.
pub(super) fn operator(word: &str) -> Option<&'static str> {
    let plain = word.to_ascii_lowercase();
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| *alias == plain)
        .map(|(_, meant)| *meant);
    alias.or_else(|| nearest(word, OPERATORS.iter().copied()))
}

/// The documented field that was meant by the first name of a path, where that is all but one of them. A name in quotes is always
/// taken as it stands.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let fields = || FIELDS.iter().flat_map(|fields| fields.split_ascii_whitespace());
    if fields().any(|field| field == name) {
        return None;
    }
    let same = fields().find(|field| field.eq_ignore_ascii_case(name));
    // Short names are near to too many others.
    same.or_else(|| if name.len() < 8 { None } else { nearest(name, fields()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_where_it_is_near_and_not_where_it_is_far() {
        for (word, meant) in [
            ("startswith", Some("starts_with")),
            ("startsWith", Some("starts_with")),
            ("StartsWith", Some("starts_with")),
            ("contain", Some("contains")),
            ("exist", Some("exists")),
            ("REGEX", Some("like")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(operator(word), meant, "{word}");
        }
        for (name, meant) in [
            ("eventname", Some("eventName")),
            ("evenName", Some("eventName")),
            ("event_name", Some("eventName")),
            ("sourceIpAddress", Some("sourceIPAddress")),
            ("responseElement", Some("responseElements")),
            ("eventName", None),
            ("type", None),
            ("Typ", None),
            ("somethingElse", None),
        ] {
            assert_eq!(misspelt(name), meant, "{name}");
        }
    }
}
