//! What the listener promises about certificates and TLS, each promise shown
//! against the real listener on loopback.
//!
//! The traps of the libraries, and what shows that the hub is not in them:
//!
//! | trap | guarded by |
//! |---|---|
//! | T1 a resumed session skips every check | [`resumption`]: `with_tickets_a_revoked_client_would_come_back_and_so_there_are_none`; [`handshake`]: `a_second_connection_is_a_full_handshake_even_for_a_client_that_would_resume` |
//! | T2 a cloned configuration shares sessions | [`resumption`]: `snapshots_share_no_session_with_each_other`, `a_session_from_elsewhere_is_not_resumed_by_a_snapshot` |
//! | T3 no revocation list means no check | [`snapshot`]: `without_a_revocation_list_there_is_no_snapshot`; [`reload`]: `a_candidate_that_misjudges_a_monitor_is_refused` |
//! | T4 a stale list is taken | [`snapshot`]: `a_list_past_its_next_update_is_refused`; [`revocation`]: `a_stale_revocation_list_stops_newcomers_and_leaves_open_streams` |
//! | T5 an authority without a list refuses all its clients | [`snapshot`]: `an_authority_without_its_own_list_is_not_trusted`; [`revocation`]: `a_new_authority_disturbs_nobody_and_its_clients_are_served` |
//! | T6 two authorities of one name break one of them | [`snapshot`]: `two_authorities_of_one_name_are_refused` |
//! | T7 an expired authority goes on verifying | [`snapshot`]: `an_expired_or_future_authority_is_refused_although_the_library_takes_it`; [`revocation`]: `an_authority_that_expires_in_force_takes_nobody_any_more` |
//! | T8 a leaf without a purpose is a client's | [`handshake`]: `a_certificate_without_a_purpose_is_refused_although_the_library_takes_it` |
//! | T9 a request is signed with all it asks for | [`traps`]: `a_request_that_asks_to_be_an_authority_would_be_one_and_so_no_request_is_ever_signed` |
//! | T10 an aged connection hears no GOAWAY, or lives for ever | [`limits`]: `a_connection_past_its_age_is_renewed_and_its_streams_told_to_come_back`, `a_drained_listener_ends_idle_connections_and_takes_no_more` |
//! | T11 handshakes without bound, authorities dropped in silence, a busy loop without descriptors | [`flood`]: `ten_thousand_sockets_that_say_nothing_take_no_more_than_their_share`; [`abuse`]: `a_hello_that_drips_is_cut_at_the_deadline`; [`reload`]: `half_a_file_is_refused_and_the_old_configuration_serves`; [`limits`]: `running_out_of_descriptors_pauses_the_listener_and_it_recovers` |
//! | T12 a client without a protocol gets in | [`abuse`]: `a_client_that_offers_no_protocol_is_closed` |
//! | T13 a serial number is made of the key | [`traps`]: `a_serial_number_says_nothing_of_the_key_although_the_library_would_make_it_of_that` |

mod abuse;
mod canary;
mod clock;
mod flood;
mod handshake;
mod identity;
mod ledger;
mod limits;
mod log;
mod peers;
mod reload;
mod resumption;
mod revocation;
mod snapshot;
mod support;
mod traps;
