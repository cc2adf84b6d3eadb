//! The plan that README's picture is drawn from: docs/instance-plan.json, which docs/draw_instance.py reads.

use serde_json::{Value, json};

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/instance-plan.json");

/// The phases by their names, as the picture heads its columns.
const PHASES: [(u8, &str); 6] = [
    (PREPARE, "prepare"),
    (super::super::super::cut::CUT, "cut"),
    (EVIDENCE, "evidence"),
    (OPEN, "open"),
    (PAUSE, "settle"),
    (CLOSE, "close"),
];

/// One interface behind a NAT gateway, two volumes, an Auto Scaling group; all that is kept by default, and snapshots.
fn typical() -> Plan {
    let arn = "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/web";
    let volume = |volume: &str, device: &str, deleted| VolumeFacts {
        volume: volume.into(),
        device: device.into(),
        deleted,
    };
    let facts = InstanceFacts {
        volumes: vec![volume("vol-1", "/dev/xvda", true), volume("vol-2", "/dev/sdf", false)],
        group: Ok(Some(GroupFacts {
            name: "web".into(),
            arn: arn.parse().expect("an ARN"),
            in_the_way: None,
        })),
        ..within(behind_nat())
    };
    let settings = Settings {
        snapshots: true,
        settle: Duration::from_secs(60),
        ..settings()
    };
    planned(&facts, &settings)
}

fn step(planned: &Planned) -> Value {
    let phase = PHASES.iter().find(|(phase, _)| *phase == planned.phase);
    json!({
        "phase": phase.expect("a phase that the picture has a column for").1,
        "kind": planned.step.kind(),
        "does": planned.step.describe(),
        "released": planned.step.reverses(),
        "seconds": planned.step.pause().map(|pause| pause.as_secs()),
    })
}

#[test]
fn the_picture_in_the_readme_is_drawn_from_this_plan() {
    let plan = typical();
    let steps: Vec<Value> = plan.steps.iter().map(step).collect();
    let phases = PHASES.map(|(_, name)| name);
    let shown =
        json!({"entity": ARN, "phases": phases, "steps": steps, "remarks": plan.remarks, "residue": plan.residue});
    let text = serde_json::to_string_pretty(&shown).expect("JSON") + "\n";
    if std::env::var_os("RENEW_PICTURE").is_some() {
        std::fs::write(FILE, &text).expect("a file");
    }
    let there = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        there == text,
        "docs/instance-plan.json is not what is planned any more: `make picture` writes it and draws it again"
    );
}
