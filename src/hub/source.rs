//! Decides what a viewer is shown of who stands behind a record, and of which
//! it is a republication.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::event::EventKind;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{ItemHeader, Original};
use crate::store::sightings::Sighting;
use crate::wire::disclosure;
use crate::wire::frame::Batch;

use super::directory::Directory;
use super::shared::Reclassed;

/// What a viewer is told that a version is a republication of: an indicator
/// that he may read himself today. Where it is masked who republishes, that
/// would give him away, for few have leave: then it is told to whom he is, and
/// to the original's owner, who gave it.
#[must_use]
pub fn original(
    today: &Directory,
    reclassed: &Reclassed,
    viewer: Viewer<'_>,
    version: &ItemHeader,
    purpose: Purpose,
) -> Option<Position> {
    let Original { handle, class } = version.original?;
    let class = reclassed.get(&handle).copied().unwrap_or(class);
    let class_now = reclassed.get(&version.handle).copied().unwrap_or(version.class);
    let masked = |class| today.class(class).is_none_or(|class| class.definition.marking.is_masked());
    let known = |class| !masked(class) || today.discloses(viewer, class, purpose);
    let gave =
        today.class(class).is_some_and(|class| today.slug(viewer.org) == Some(&class.definition.owner));
    let told = gave || (known(version.class) && known(class_now));
    (told && today.visible(viewer, class, purpose)).then_some(handle)
}

/// What a viewer who sees a version is shown of its source.
#[derive(Debug, Clone)]
pub enum Source {
    /// What is stored: all of it, or nothing where it is masked.
    AsStored,
    /// What the stored version leaves out.
    Told(Arc<ClassDefinition>),
    /// Nothing, though the stored version says it: it was masked since.
    Hidden,
}

/// What of a sighting says who is told whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Who reported it.
    pub reporter: OrgNo,
    /// Its audience class.
    pub class: ClassNo,
    /// Audience class of its indicator as it was recorded.
    pub indicator_class: ClassNo,
}

impl From<&ItemHeader> for Reported {
    fn from(sighting: &ItemHeader) -> Self {
        let ItemHeader { owner, class, previous_class, .. } = *sighting;
        Self { reporter: owner, class, indicator_class: previous_class }
    }
}

impl From<&Sighting<'_>> for Reported {
    fn from(sighting: &Sighting<'_>) -> Self {
        let Sighting { reporter, class, indicator_class, .. } = *sighting;
        Self { reporter, class, indicator_class }
    }
}

/// What a viewer is told of the other record of a collision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// What is stored.
    AsStored,
    /// Which it is, but not whose.
    Unnamed,
    /// Nothing.
    Hidden,
}

impl Other {
    /// An encoded collision as the viewer is shown it; `None` if it is damaged.
    #[must_use]
    pub fn show_collision(self, collision: Bytes) -> Option<Bytes> {
        match self {
            Self::AsStored => Some(collision),
            Self::Unnamed => disclosure::mask_collision(&collision, false),
            Self::Hidden => disclosure::mask_collision(&collision, true),
        }
    }

    /// The body of a notice as the viewer is shown it; `None` if it is damaged.
    #[must_use]
    pub fn show_body(self, body: Bytes) -> Option<Bytes> {
        match self {
            Self::AsStored => Some(body),
            Self::Unnamed => disclosure::mask_notice(&body, false),
            Self::Hidden => disclosure::mask_notice(&body, true),
        }
    }
}

impl Source {
    /// Of a version of `class`, whose record is of `class_now` today.
    #[must_use]
    pub fn of(
        today: &Directory,
        viewer: Viewer<'_>,
        class: ClassNo,
        class_now: ClassNo,
        purpose: Purpose,
    ) -> Self {
        let masked = |class| today.class(class).filter(|class| class.definition.marking.is_masked());
        if let Some(masked) = masked(class) {
            if today.discloses(viewer, class, purpose) {
                return Self::Told(Arc::clone(&masked.definition));
            }
        } else if class != class_now
            && masked(class_now).is_some()
            && !today.discloses(viewer, class_now, purpose)
        {
            return Self::Hidden;
        }
        Self::AsStored
    }

    /// The same of a sighting: its reporter is its source, whoever's the class
    /// is. Who reported an indicator is its owner or one whom it was addressed
    /// to: once the source of the indicator is masked, an older sighting names
    /// its reporter to those only who are told the source, and to its own.
    #[must_use]
    pub fn of_sighting(
        today: &Directory,
        viewer: Viewer<'_>,
        sighting: Reported,
        indicator_now: ClassNo,
        purpose: Purpose,
    ) -> Self {
        let source = Self::of(today, viewer, sighting.class, sighting.class, purpose);
        let indicator = || Self::of(today, viewer, sighting.indicator_class, indicator_now, purpose);
        match (source, today.slug(sighting.reporter)) {
            (Self::AsStored, _) if sighting.reporter != viewer.org && matches!(indicator(), Self::Hidden) => {
                Self::Hidden
            }
            (Self::Told(class), Some(reporter)) if class.owner != *reporter => {
                Self::Told(Arc::new(ClassDefinition {
                    owner: reporter.clone(),
                    marking: class.marking.clone(),
                }))
            }
            (source, _) => source,
        }
    }

    /// What a viewer is told now of the other record of a collision, which is
    /// of class `other_now`: what its owner might know when it was told, and
    /// the viewer may know today.
    #[must_use]
    pub fn of_notice(
        today: &Directory,
        viewer: Viewer<'_>,
        notice: &ItemHeader,
        other_now: ClassNo,
        purpose: Purpose,
    ) -> Other {
        if !today.visible(viewer, other_now, purpose) {
            return Other::Hidden;
        }
        match Self::of(today, viewer, notice.previous_class, other_now, purpose) {
            Self::Hidden => Other::Unnamed,
            Self::AsStored | Self::Told(_) => Other::AsStored,
        }
    }

    /// An encoded indicator as the viewer is shown it; `None` if it is
    /// damaged.
    #[must_use]
    pub fn show_indicator(&self, indicator: Bytes) -> Option<Bytes> {
        match self {
            Self::AsStored => Some(indicator),
            Self::Told(class) => Some(disclosure::tell_indicator(&indicator, class)),
            Self::Hidden => disclosure::mask_indicator(&indicator),
        }
    }

    /// An encoded sighting as the viewer is shown it; `None` if it is damaged.
    #[must_use]
    pub fn show_sighting(&self, sighting: Bytes) -> Option<Bytes> {
        match self {
            Self::AsStored => Some(sighting),
            Self::Told(class) => Some(disclosure::tell_sighting(&sighting, class)),
            Self::Hidden => disclosure::mask_sighting(&sighting),
        }
    }

    /// Adds an event to a batch as the viewer is shown it; `None` if its body
    /// is damaged.
    #[must_use]
    pub fn put(&self, batch: &mut Batch, kind: EventKind, body: Bytes) -> Option<()> {
        let body = if let Self::Hidden = self { disclosure::mask_body(&body)? } else { body };
        batch.push(kind, body);
        if let Some(disclosure) = self.disclosure() {
            batch.disclose(1, &disclosure);
        }
        Some(())
    }

    /// What goes out beside an event's body.
    #[must_use]
    pub fn disclosure(&self) -> Option<Bytes> {
        match self {
            Self::Told(class) => Some(disclosure::encode(class)),
            Self::AsStored | Self::Hidden => None,
        }
    }
}
