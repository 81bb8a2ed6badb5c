//! The right that a case is about.

use iris_contract::rights::{Operation, Pattern, ResourceKind, Right};
use iris_testkit::{Acl, Login};

use super::stage::{Actor, Stage};

/// A right of a role by its position, and whether the user may still describe the resource without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lack {
    pub(super) position: usize,
    pub(super) may_describe: bool,
}

/// Returns each right of a role twice: once with the right to describe the resource left, and once without.
pub(super) fn lacks(rights: &[Right]) -> Vec<Lack> {
    let variants = |(position, right): (usize, &Right)| {
        let is_implied = right.operation == Operation::Describe;
        let both = [true, false].into_iter();
        both.filter(move |&may_describe| !(may_describe && is_implied))
            .map(move |may_describe| Lack {
                position,
                may_describe,
            })
    };
    rights.iter().enumerate().flat_map(variants).collect()
}

/// Returns how users log in, and whether they are without this right then. With a password, they lack each right twice: see
/// [`lacks`]. With a certificate they lack each once, in turns with and without the right to describe the resource; `turn` is the
/// first.
pub(super) fn logins(rights: &[Right], turn: usize) -> Vec<(Login, Lack)> {
    let all = lacks(rights);
    let is_turn = |lack: &&Lack| {
        let has_one = all.iter().filter(|other| other.position == lack.position);
        has_one.count() == 1 || lack.may_describe == (lack.position + turn).is_multiple_of(2)
    };
    let with_certificate = all.iter().filter(is_turn);
    let with_password = all.iter().map(|&lack| (Login::Password, lack));
    with_password
        .chain(with_certificate.map(|&lack| (Login::Certificate, lack)))
        .collect()
}

impl Lack {
    /// Returns the right of an actor.
    pub(super) fn right(self, actor: &Actor) -> &Right {
        &actor.rights[self.position]
    }

    /// Returns a name for people.
    pub(super) fn name(self, rights: &[Right]) -> String {
        let right = &rights[self.position];
        let describe = if self.may_describe { "kept" } else { "gone" };
        format!(
            "{:?} on {:?} {}, Describe {describe}",
            right.operation, right.kind, right.name
        )
    }

    fn acl(self, actor: &Actor) -> Acl {
        Acl::of(&actor.principal(), self.right(actor))
    }

    /// Grants all rights but this one.
    pub(super) fn grant_others(self, stage: &Stage, actor: &Actor) {
        let mut acls = actor.acls();
        let lacking = acls.remove(self.position);
        if self.may_describe {
            acls.push(lacking.describe());
        }
        stage.broker.grant(&acls).unwrap();
    }

    /// Takes this right away.
    pub(super) fn revoke(self, stage: &Stage, actor: &Actor) {
        if self.may_describe {
            stage.broker.grant(&[self.acl(actor).describe()]).unwrap();
        }
        stage.broker.revoke(&[self.acl(actor)]).unwrap();
    }

    /// Gives this right back.
    pub(super) fn give_back(self, stage: &Stage, actor: &Actor) {
        stage.broker.grant(&[self.acl(actor)]).unwrap();
    }

    /// Whether another right on the same resource lets the user describe it.
    pub(super) fn is_visible(self, actor: &Actor) -> bool {
        let right = self.right(actor);
        let others = actor.rights.iter().enumerate();
        let is_same = |(position, other): (usize, &Right)| {
            position != self.position && (other.kind, &other.name) == (right.kind, &right.name)
        };
        self.may_describe || others.into_iter().any(is_same)
    }

    /// Checks that a text names the user, the right, the resource and the commands.
    #[track_caller]
    pub(super) fn assert_named(self, stage: &Stage, actor: &Actor, text: &str) {
        for part in self.parts(stage, actor) {
            assert!(text.contains(&part), "no `{part}` in:\n{text}");
        }
    }

    /// Whether a text names the user, the right, the resource and the commands.
    pub(super) fn is_named(self, stage: &Stage, actor: &Actor, text: &str) -> bool {
        self.parts(stage, actor)
            .iter()
            .all(|part| text.contains(part))
    }

    fn parts(self, stage: &Stage, actor: &Actor) -> Vec<String> {
        let right = self.right(actor);
        let kind = match right.kind {
            ResourceKind::Topic => "topic",
            ResourceKind::Group => "group",
            ResourceKind::TransactionalId => "transactional id",
            ResourceKind::Cluster => "cluster",
        };
        let end = if right.pattern == Pattern::Prefix {
            ""
        } else {
            "`"
        };
        let (user, role) = (&actor.user, actor.role);
        let mut parts = vec![format!(
            "{:?} on {kind} `{}{end}",
            right.operation, right.name
        )];
        parts.extend(match actor.login {
            Login::Password => [
                format!("user `{user}` lacks the right"),
                format!("`iris-admin acls --for {role} --principal User:{user}`"),
            ],
            Login::Certificate => [
                format!(
                    "the user with the certificate `{}` lacks the right",
                    stage.broker.certificate(user).display()
                ),
                format!("`iris-admin acls --for {role}`"),
            ],
        });
        if right.kind == ResourceKind::Topic && !self.is_visible(actor) {
            parts.push("or the topic does not exist".to_owned());
            parts.push("`iris-admin topics create`".to_owned());
        }
        parts
    }
}
