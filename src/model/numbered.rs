//! Decides how a small closed set is spelt: each member has a number, which is
//! stored and sent and never changes, and a name for people.

/// An enum whose members have numbers and names, with the ways between them.
macro_rules! numbered {
    (
        $(#[$meta:meta])*
        pub enum $set:ident { $( $(#[$doc:meta])* $member:ident = $number:literal is $name:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $set { $( $(#[$doc])* $member = $number, )+ }

        impl $set {
            /// Every member, by number.
            pub const ALL: &[Self] = &[$( Self::$member, )+];

            /// The number that is stored and sent.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The member with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$member), )+
                    _ => None,
                }
            }

            /// The member's name at the prompt and in JSON lines.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$member => $name, )+
                }
            }

            /// The member of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.as_str() == name)
            }
        }
    };
}

pub(super) use numbered;
