//! ARNs, and the entities that they name.

use super::each;
use crate::arn::Arn;
use crate::entity::Entity;
use crate::guard;
use crate::settings::tests::settings;

const PARTS: &[&str] = &[
    "arn",
    "aws",
    "aws-cn",
    "aws-us-gov",
    "iam",
    "sts",
    "ec2",
    "lambda",
    "eu-west-1",
    "222222222222",
    ":",
    "::",
    "/",
    "//",
    "user/",
    "role/",
    "assumed-role/",
    "function:",
    "instance/",
    "i-0123456789abcdef0",
    "aws-reserved/sso.amazonaws.com/",
    "$LATEST",
    "alice",
    "*",
    "+=,.@-",
    "ü",
    "\u{0}",
    "\n",
    " ",
    "x",
];
const WHOLES: &[&str] = &[
    "arn:aws:iam::222222222222:user/div/alice",
    "arn:aws:iam::222222222222:role/service-role/builder",
    "arn:aws:sts::222222222222:assumed-role/builder/session",
    "arn:aws:lambda:eu-west-1:222222222222:function:f:live",
    "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0",
    "arn:aws-cn:iam::222222222222:role/aws-service-role/x.amazonaws.com/r",
];

#[test]
fn no_arn_makes_anything_panic_and_what_is_one_is_written_as_it_was() {
    let settings = settings();
    each(
        20,
        |dice| dice.text(PARTS, WHOLES),
        |text| {
            if let Ok(arn) = text.parse::<Arn>() {
                assert_eq!(arn.to_string(), *text);
            }
            let entity = text.parse::<Entity>();
            if let Ok(entity) = &entity {
                assert_eq!(entity.named.to_string(), *text);
                let key = entity.key();
                assert!(
                    !key.chars().any(char::is_control) && key.split('/').count() >= 5,
                    "{key}"
                );
                let _ = (guard::judge_name(entity, &settings), entity.home(), entity.to_string());
            }
            entity.is_ok()
        },
    );
}
