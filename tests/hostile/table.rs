//! Which test holds what: published weaknesses of programs like this one, and the promises of this one. What needs no
//! test is in `SECURITY.md`, with the reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A weakness under the name it was published by, or what must be true under a name of our own; then the tests that
/// would fail.
type Row = (&'static str, &'static [&'static str]);

const PUBLISHED: &[Row] = &[
    (
        "singularity 2.4.1",
        &[
            "images_are_limited_to_owners_by_name_and_by_number",
            "upper_and_work_are_directories_and_no_links",
        ],
    ),
    (
        "singularity 2.5.0",
        &[
            "links_on_the_way_to_a_place_lead_nowhere_outside",
            "no_variable_reaches_the_starter_or_the_program",
            "overlays_need_enable_overlay",
        ],
    ),
    (
        "CVE-2018-12021",
        &[
            "a_directory_as_an_overlay_is_refused_to_users",
            "what_others_have_closed_cannot_be_opened_for_a_plan_nor_by_the_starter",
        ],
    ),
    (
        "singularity 2.5.2",
        &[
            "a_bind_shows_what_was_opened_and_not_what_has_its_name_now",
            "exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside",
        ],
    ),
    (
        "CVE-2018-19295",
        &[
            "files_of_the_kernels_own_file_systems_are_no_images",
            "more_descriptors_than_the_plan_names_do_not_come_along",
            "no_variable_reaches_the_starter_or_the_program",
        ],
    ),
    (
        "CVE-2019-11328",
        &[
            "a_record_that_was_handed_on_or_copied_opens_nothing",
            "only_a_running_instance_of_the_callers_own_is_joined",
        ],
    ),
    (
        "CVE-2022-31214",
        &[
            "a_forged_record_opens_no_namespaces_of_its_makers",
            "a_record_that_was_handed_on_or_copied_opens_nothing",
            "only_a_running_instance_of_the_callers_own_is_joined",
        ],
    ),
    (
        "CVE-2018-6556",
        &[
            "a_record_that_was_handed_on_or_copied_opens_nothing",
            "only_a_running_instance_of_the_callers_own_is_joined",
        ],
    ),
    (
        "CVE-2022-1184",
        &["a_kernel_driver_reads_what_both_spellings_allow", "an_ext3_is_an_ext3_with_a_journal_inside"],
    ),
    (
        "CVE-2023-30549",
        &["a_kernel_driver_reads_what_both_spellings_allow", "an_ext3_is_an_ext3_with_a_journal_inside"],
    ),
    (
        "CVE-2023-38496",
        &[
            "while_a_container_runs_none_of_its_processes_is_roots",
            "ids_and_groups_are_the_callers_and_every_capability_is_gone",
        ],
    ),
    ("CVE-2025-64750", &["a_false_proc_deceives_nobody_but_its_owner"]),
    ("CVE-2025-65105", &["a_false_proc_deceives_nobody_but_its_owner"]),
    ("CVE-2026-47215", &["images_are_limited_to_folders_component_by_component"]),
    ("CVE-2026-48785", &["images_are_limited_to_folders_component_by_component"]),
    (
        "GHSA-4wg8-vhjg-jq8p",
        &[
            "a_bind_shows_what_was_opened_and_not_what_has_its_name_now",
            "what_has_no_place_in_a_file_system_cannot_be_bound",
        ],
    ),
    ("CVE-2016-8659", &["a_stopped_starter_shows_its_caller_nothing"]),
    ("CVE-2026-41163", &["a_stopped_starter_shows_its_caller_nothing"]),
    (
        "CVE-2020-5291",
        &["a_user_namespace_of_the_callers_is_refused", "a_stopped_starter_shows_its_caller_nothing"],
    ),
    (
        "CVE-2026-87766",
        &[
            "links_on_the_way_to_a_place_lead_nowhere_outside",
            "a_bind_over_a_link_of_the_image_lands_where_the_link_leads_inside",
        ],
    ),
    ("CVE-2024-42472", &["a_bind_shows_what_was_opened_and_not_what_has_its_name_now"]),
    ("CVE-2026-34078", &["a_bind_shows_what_was_opened_and_not_what_has_its_name_now"]),
    ("CVE-2017-5206", &["a_stopped_starter_shows_its_caller_nothing"]),
    ("CVE-2021-26910", &["upper_and_work_are_directories_and_no_links"]),
    ("CVE-2021-44730", &["the_starter_can_be_neither_read_nor_changed_nor_copied"]),
    ("CVE-2021-44731", &["exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside"]),
    ("CVE-2019-11503", &["a_working_directory_that_is_gone_or_closed_is_no_hindrance"]),
    (
        "CVE-2016-9962",
        &[
            "a_stopped_starter_shows_its_caller_nothing",
            "while_a_container_runs_none_of_its_processes_is_roots",
        ],
    ),
    ("CVE-2019-5736", &["the_starter_can_be_neither_read_nor_changed_nor_copied"]),
    ("CVE-2019-16884", &["a_false_proc_deceives_nobody_but_its_owner"]),
    ("CVE-2023-27561", &["a_false_proc_deceives_nobody_but_its_owner"]),
    ("CVE-2025-52881", &["a_false_proc_deceives_nobody_but_its_owner"]),
    ("CVE-2021-30465", &["exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside"]),
    ("CVE-2022-29162", &["ids_and_groups_are_the_callers_and_every_capability_is_gone"]),
    ("CVE-2023-25809", &["a_container_has_the_mounts_of_the_installed_file_and_no_others"]),
    (
        "CVE-2024-21626",
        &[
            "more_descriptors_than_the_plan_names_do_not_come_along",
            "no_descriptor_that_the_plan_does_not_name_is_open_while_the_container_is_made",
            "while_a_container_runs_none_of_its_processes_is_roots",
        ],
    ),
    ("CVE-2024-45310", &["exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside"]),
    ("CVE-2026-41579", &["links_on_the_way_to_a_place_lead_nowhere_outside"]),
    ("CVE-2021-4034", &["arguments_say_nothing_to_the_starter"]),
    ("CVE-2021-4115", &["every_limit_ends_in_a_whole_container_or_in_none"]),
    (
        "CVE-2026-4897",
        &["a_pipe_that_nothing_comes_through_is_not_waited_for", "only_one_whole_frame_is_a_plan"],
    ),
    ("CVE-2014-0004", &["the_most_and_the_deepest_that_a_plan_can_hold_is_made_or_refused"]),
    (
        "CVE-2025-6019",
        &[
            "every_mount_below_a_bind_gets_the_flags_too_and_keeps_its_own",
            "setuid_files_and_device_nodes_are_inert_wherever_they_come_from",
        ],
    ),
    ("CVE-2025-8067", &["descriptor_numbers_are_each_used_once_and_without_gaps"]),
    (
        "libblockdev 1171",
        &[
            "loop_devices_go_with_their_container_and_those_of_others_stay",
            "a_kill_at_any_moment_leaves_nothing_behind",
        ],
    ),
    (
        "CVE-2021-3156",
        &[
            "arguments_say_nothing_to_the_starter",
            "each_request_is_one_line_in_the_log_whatever_it_is_called",
        ],
    ),
    ("CVE-2023-28486", &["each_request_is_one_line_in_the_log_whatever_it_is_called"]),
    ("CVE-2026-35535", &["every_limit_ends_in_a_whole_container_or_in_none"]),
    ("CVE-2025-46717", &["a_directory_of_the_hosts_as_root_tells_nothing_of_what_its_user_cannot_reach"]),
    (
        "CVE-2011-1089",
        &[
            "every_limit_ends_in_a_whole_container_or_in_none",
            "blocked_and_ignored_signals_and_an_alarm_are_not_inherited",
        ],
    ),
    (
        "CVE-2013-0157",
        &["a_directory_of_the_hosts_that_is_bound_tells_nothing_of_what_its_user_cannot_reach"],
    ),
    ("CVE-2026-27456", &["an_image_is_a_regular_file_opened_for_reading"]),
    ("CVE-2026-53612", &["exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside"]),
    (
        "CVE-2026-53614",
        &[
            "every_mount_below_a_bind_gets_the_flags_too_and_keeps_its_own",
            "no_variable_reaches_the_starter_or_the_program",
        ],
    ),
    ("CVE-2026-76642", &["refusals_early_and_late_leave_nothing"]),
    ("CVE-2026-78408", &["more_descriptors_than_the_plan_names_do_not_come_along"]),
    ("CVE-2015-3202", &["no_variable_reaches_the_starter_or_the_program"]),
    ("CVE-2018-10906", &["only_one_whole_frame_is_a_plan", "an_ext3_is_an_ext3_with_a_journal_inside"]),
    (
        "libfuse 1518",
        &[
            "a_deadline_ends_a_starter_whose_image_is_never_answered_for",
            "a_file_that_a_fuse_server_makes_up_is_no_image_where_images_are_limited",
        ],
    ),
    (
        "CVE-2023-4911",
        &["no_variable_reaches_the_starter_or_the_program", "the_starter_and_init_load_no_libraries"],
    ),
    (
        "CVE-2025-4802",
        &["no_variable_reaches_the_starter_or_the_program", "the_starter_and_init_load_no_libraries"],
    ),
    (
        "CVE-2017-1000364",
        &["arguments_say_nothing_to_the_starter", "every_limit_ends_in_a_whole_container_or_in_none"],
    ),
    ("CVE-2012-0056", &["a_message_that_cannot_be_written_changes_nothing"]),
    ("CVE-2019-13272", &["a_starter_without_its_privilege_does_nothing"]),
    ("CVE-2026-46333", &["a_stopped_starter_shows_its_caller_nothing"]),
    (
        "CVE-2023-0386",
        &[
            "copying_up_a_setuid_file_gives_nothing",
            "setuid_files_and_device_nodes_are_inert_wherever_they_come_from",
        ],
    ),
    ("CVE-2021-3493", &["setuid_files_and_device_nodes_are_inert_wherever_they_come_from"]),
    ("CVE-2021-33909", &["the_most_and_the_deepest_that_a_plan_can_hold_is_made_or_refused"]),
    ("CVE-2024-46744", &["a_kernel_driver_reads_what_both_spellings_allow"]),
    ("CVE-2022-0847", &["the_starter_can_be_neither_read_nor_changed_nor_copied"]),
];

const PROMISES: &[Row] = &[
    ("arguments: none is looked at, not even the first", &["arguments_say_nothing_to_the_starter"]),
    (
        "environment: nothing in it is looked at or passed on",
        &[
            "no_variable_reaches_the_starter_or_the_program",
            "neither_variables_nor_arguments_change_a_single_call",
            "however_much_is_given_to_the_starter_it_does_the_same",
        ],
    ),
    (
        "streams: a closed one is never replaced by a file of the starter's",
        &[
            "closed_standard_streams_are_no_place_for_the_starters_files",
            "with_closed_streams_and_few_descriptors_there_is_a_whole_container_or_none",
            "a_message_that_cannot_be_written_changes_nothing",
        ],
    ),
    (
        "limits: too little of anything means no container, never half of one",
        &["every_limit_ends_in_a_whole_container_or_in_none"],
    ),
    (
        "signals: the caller's state neither disturbs the mounts nor is lost",
        &[
            "blocked_and_ignored_signals_and_an_alarm_are_not_inherited",
            "identity_groups_umask_and_signal_state_are_the_callers",
        ],
    ),
    ("modes: what is made has its own, whatever the umask", &["no_umask_changes_what_the_starter_makes"]),
    (
        "working directory: nothing is looked up in it",
        &["a_working_directory_that_is_gone_or_closed_is_no_hindrance"],
    ),
    (
        "privacy: nobody looks into a process of the starter's, and none leaves a core",
        &[
            "a_stopped_starter_shows_its_caller_nothing",
            "nobody_looks_into_a_starter_at_any_call_even_after_it_gave_up_its_privilege",
            "nobody_is_in_a_container_that_is_being_made",
        ],
    ),
    (
        "capabilities: raised around the calls that need them",
        &["the_mounter_holds_one_capability_but_where_an_overlay_is_created"],
    ),
    (
        "descriptors: the caller's do not come along, ours do not stay",
        &[
            "more_descriptors_than_the_plan_names_do_not_come_along",
            "while_a_container_runs_none_of_its_processes_is_roots",
        ],
    ),
    (
        "whole privilege: less than all of root's is refused",
        &[
            "a_starter_without_its_privilege_does_nothing",
            "the_starter_alone_refuses",
            "privilege_of_another_kind_is_none",
        ],
    ),
    (
        "namespaces: one that the caller made is refused",
        &["a_user_namespace_of_the_callers_is_refused", "a_root_of_the_callers_gives_no_privilege"],
    ),
    (
        "stops: whoever stops and goes on gets what he would have got",
        &["a_stopped_starter_shows_its_caller_nothing", "a_stopped_program_goes_on"],
    ),
    (
        "binary: nobody reads, changes or copies it, and its name says nothing",
        &[
            "the_starter_can_be_neither_read_nor_changed_nor_copied",
            "only_the_starter_is_setuid",
            "by_another_name_the_starter_is_the_same",
        ],
    ),
    (
        "frame: bounded, and never waited for",
        &["only_one_whole_frame_is_a_plan", "a_pipe_that_nothing_comes_through_is_not_waited_for"],
    ),
    ("frame: any bytes end in words", &["a_frame_cut_anywhere_or_with_any_bit_turned_never_ends_in_a_crash"]),
    (
        "frame: one spelling of one version, and nothing unknown",
        &["only_one_whole_frame_is_a_plan", "a_word_that_is_not_in_the_plan_is_refused"],
    ),
    (
        "frame: counts are checked before memory is taken",
        &["counts_that_no_memory_could_hold_are_refused_before_any_is_taken"],
    ),
    ("frame: comes through a pipe", &["only_a_pipe_brings_a_plan"]),
    (
        "paths: one spelling, bounded, never part of option text",
        &["a_path_has_one_spelling", "a_component_is_bounded", "the_number_of_components_is_bounded"],
    ),
    (
        "images: regular files, opened for reading",
        &[
            "an_image_is_a_regular_file_opened_for_reading",
            "a_file_that_may_be_written_but_not_read_cannot_be_read_as_an_image",
        ],
    ),
    (
        "images: written only where opened for writing",
        &[
            "a_file_that_may_be_written_but_not_read_cannot_be_read_as_an_image",
            "an_image_to_be_written_was_opened_for_writing",
        ],
    ),
    ("images: no interfaces of the kernel's", &["files_of_the_kernels_own_file_systems_are_no_images"]),
    (
        "images: limits need a file that has a name and tells the truth",
        &[
            "memory_files_and_removed_files_are_images_like_others_unless_images_are_limited",
            "a_file_that_a_fuse_server_makes_up_is_no_image_where_images_are_limited",
        ],
    ),
    (
        "images: a part lies inside its file",
        &["windows_are_arithmetic_that_holds", "an_image_is_what_the_plan_says_or_it_is_refused"],
    ),
    (
        "images: each driver reads what is its own",
        &["an_image_is_what_the_plan_says_or_it_is_refused", "an_ext3_is_an_ext3_with_a_journal_inside"],
    ),
    (
        "images: changing one hurts its user",
        &["an_image_that_changes_under_a_container_hurts_only_the_container"],
    ),
    (
        "images: one that never answers is given up, and nothing else",
        &[
            "a_deadline_ends_a_starter_whose_image_is_never_answered_for",
            "the_starters_deadline_does_not_count_for_what_it_started",
        ],
    ),
    (
        "numbers: each descriptor once, none left out",
        &[
            "descriptor_numbers_are_each_used_once_and_without_gaps",
            "a_descriptor_that_is_not_there_is_missed",
            "a_payload_that_is_not_there_is_not_replaced_by_something_of_the_starters",
        ],
    ),
    (
        "places: links and exchanges lead nowhere outside",
        &[
            "links_on_the_way_to_a_place_lead_nowhere_outside",
            "exchanging_a_place_with_a_link_while_it_is_mounted_on_leads_nowhere_outside",
            "a_place_exchanged_with_a_link_at_any_call_leads_nowhere_outside",
        ],
    ),
    (
        "places: nothing is made in what the caller brought",
        &["a_start_makes_nothing_in_what_its_user_brought"],
    ),
    (
        "places: nothing is told of what the caller cannot reach",
        &[
            "a_directory_of_the_hosts_as_root_tells_nothing_of_what_its_user_cannot_reach",
            "a_directory_of_the_hosts_that_is_bound_tells_nothing_of_what_its_user_cannot_reach",
            "an_underlay_opens_no_closed_folder",
            "no_overlay_image_copies_what_a_directory_keeps_from_its_reader",
            "a_directory_with_something_mounted_in_it_is_no_image_that_shows_what_is_beneath",
        ],
    ),
    (
        "proc: a false one decides nothing",
        &["a_false_proc_deceives_nobody_but_its_owner", "a_user_namespace_of_the_callers_is_refused"],
    ),
    (
        "sources: what was opened by the caller, not what has its name",
        &[
            "a_bind_shows_what_was_opened_and_not_what_has_its_name_now",
            "what_others_have_closed_cannot_be_opened_for_a_plan_nor_by_the_starter",
            "exchanging_the_source_of_a_bind_shows_what_its_user_could_open",
        ],
    ),
    (
        "images: the one that was looked at is the one that is mounted",
        &[
            "exchanging_an_image_with_another_runs_one_of_them_whole",
            "exchanging_an_overlay_with_another_writes_to_the_one_that_was_locked",
        ],
    ),
    (
        "paths in the configuration: compared by component",
        &["images_are_limited_to_folders_component_by_component"],
    ),
    (
        "mounts: nosuid everywhere, nodev outside /dev",
        &[
            "every_mount_below_a_bind_gets_the_flags_too_and_keeps_its_own",
            "every_mount_is_nosuid_and_nodev_outside_dev",
        ],
    ),
    (
        "mounts: the host's restrictions stay",
        &["every_mount_below_a_bind_gets_the_flags_too_and_keeps_its_own"],
    ),
    (
        "mounts: the host sees none",
        &[
            "what_a_container_mounts_is_never_seen_by_the_host",
            "a_mount_that_the_host_makes_later_appears_where_mount_slave_says_so",
        ],
    ),
    (
        "loop devices: end with their container; others' stay",
        &[
            "loop_devices_go_with_their_container_and_those_of_others_stay",
            "a_kill_at_any_moment_leaves_nothing_behind",
        ],
    ),
    (
        "file systems: a closed list of kinds and options",
        &[
            "an_ext3_is_an_ext3_with_a_journal_inside",
            "an_ext3_that_is_only_read_opens_no_journal_whatever_it_says_when_it_is_mounted",
            "the_list_makes_a_filter_and_names_each_call_once",
        ],
    ),
    (
        "overlays: layers are directories inside their images",
        &["upper_and_work_are_directories_and_no_links", "marks_in_an_overlay_lead_nowhere_outside"],
    ),
    ("overlays: a copy has no more rights than the original", &["copying_up_a_setuid_file_gives_nothing"]),
    (
        "configuration: root's alone, whole and understood",
        &[
            "a_file_that_somebody_else_could_have_written_is_refused",
            "a_bad_value_stops_everything_and_its_line_is_named",
            "a_missing_file_stops_everything",
        ],
    ),
    (
        "configuration: enforced in the starter",
        &[
            "a_mount_of_the_site_that_is_switched_off_is_not_made",
            "binds_of_the_users_choice_need_user_bind_control",
            "allow_setuid_no_stops_every_plan",
        ],
    ),
    (
        "ids: the caller's, all four, and all groups",
        &[
            "ids_and_groups_are_the_callers_and_every_capability_is_gone",
            "as_many_groups_as_the_kernel_takes_are_kept",
            "a_caller_whose_group_is_roots_gets_nothing_else_of_roots",
        ],
    ),
    (
        "instances: only those that root recorded are joined, by their user",
        &[
            "only_a_running_instance_of_the_callers_own_is_joined",
            "a_record_that_was_handed_on_or_copied_opens_nothing",
            "a_forged_record_opens_no_namespaces_of_its_makers",
        ],
    ),
    (
        "capabilities: none in any set, for good",
        &[
            "ids_and_groups_are_the_callers_and_every_capability_is_gone",
            "nothing_privileged_can_be_done_inside",
        ],
    ),
    (
        "setuid files, file capabilities and nodes are inert",
        &["setuid_files_and_device_nodes_are_inert_wherever_they_come_from"],
    ),
    (
        "one thread, and one small program",
        &[
            "while_a_container_runs_none_of_its_processes_is_roots",
            "what_runs_as_root_is_as_small_as_the_readme_says",
        ],
    ),
    (
        "failures: whatever call fails, the container is whole or there is none",
        &[
            "a_failure_of_any_call_leaves_no_container_or_the_one_that_was_asked_for",
            "a_failure_of_any_call_leaves_no_container_with_process_ids_of_its_own",
            "a_failure_of_any_call_leaves_no_instance_or_the_one_that_was_asked_for",
            "a_failure_of_any_call_joins_an_instance_as_was_asked_for_or_not_at_all",
        ],
    ),
    (
        "failures: nothing stays behind",
        &[
            "a_kill_at_any_call_leaves_no_container_and_nothing_else",
            "a_kill_of_one_process_ends_those_that_belong_to_it",
            "a_mounter_that_is_stopped_ends_with_its_starter_whoever_it_acts_as",
            "a_kill_at_any_call_leaves_no_instance",
            "a_kill_of_who_joins_an_instance_leaves_nobody_in_it",
            "a_kill_at_any_moment_leaves_nothing_behind",
            "refusals_early_and_late_leave_nothing",
        ],
    ),
    (
        "afterwards: no process of root's, and none without its monitor",
        &[
            "while_a_container_runs_none_of_its_processes_is_roots",
            "a_container_with_its_own_process_ids_ends_with_the_process_that_waits_for_it",
        ],
    ),
    (
        "log: one line for each request, and nobody writes a second",
        &[
            "each_request_is_one_line_in_the_log_whatever_it_is_called",
            "a_log_that_nobody_reads_keeps_nobody_waiting",
            "a_log_that_is_behind_gets_its_line_all_the_same",
        ],
    ),
    ("messages: written after privilege is gone", &["a_message_that_cannot_be_written_changes_nothing"]),
    (
        "memory: the session's and the starter's are bounded",
        &[
            "the_sessions_memory_is_bounded_for_everybody_but_root",
            "a_starter_takes_little_memory_for_the_largest_plan",
        ],
    ),
    (
        "mounter: a list of calls, and no way round it",
        &[
            "the_list_makes_a_filter_and_names_each_call_once",
            "a_call_that_is_not_in_the_list_ends_the_mounter",
            "arguments_that_are_not_in_the_list_end_the_mounter",
            "no_other_entry_leads_round_the_list",
            "the_filter_has_no_call_that_no_run_makes",
            "without_its_mounter_there_is_no_container",
        ],
    ),
    (
        "kernel: an older one does it in the other way, or there is one refusal",
        &[
            "the_oldest_kernel_runs_everything",
            "whatever_a_newer_call_is_answered_the_container_runs_or_is_refused_once",
            "a_kernel_that_is_too_old_is_one_clear_refusal",
        ],
    ),
    (
        "kernel: what is asked of it is known, call by call",
        &["a_start_makes_the_calls_that_the_readme_tells_in_their_order"],
    ),
    (
        "other users: cannot disturb a container",
        &[
            "another_user_cannot_signal_a_starter",
            "whoever_stops_his_starters_keeps_nobody_waiting",
            "a_loop_device_is_shared_where_the_site_says_so_and_only_by_one_user",
        ],
    ),
];

/// The text of every Rust file of the project.
fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(ROOT).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is a folder").filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).expect("a source is text");
            }
        }
    }
    text
}

#[test]
fn every_row_names_tests_that_there_are() {
    let sources = sources();
    let mut names = BTreeSet::new();
    for (name, tests) in PUBLISHED.iter().chain(PROMISES) {
        assert!(names.insert(name), "{name} is there twice");
        assert!(!tests.is_empty(), "nothing holds {name}");
        for test in *tests {
            let there = sources.contains(&format!("#[test]\nfn {test}()"))
                || sources.contains(&format!("    fn {test}()"));
            assert!(there, "{name}: there is no test {test}");
        }
    }
}

#[test]
fn every_test_of_this_program_holds_something() {
    let held: BTreeSet<&str> =
        PUBLISHED.iter().chain(PROMISES).flat_map(|(_, tests)| *tests).copied().collect();
    // What a caller may lower without any harm.
    let harmless = [
        "personality_bits_do_not_come_along",
        "the_lowest_priority_is_priority_enough",
        "a_directory_is_only_a_directory",
    ];
    for file in
        fs::read_dir(Path::new(ROOT).join("tests/hostile")).expect("it is a folder").filter_map(Result::ok)
    {
        let text = fs::read_to_string(file.path()).expect("a source is text");
        for name in text.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let held = held.contains(name) || harmless.contains(&name) || file.file_name() == "table.rs";
            assert!(held, "{name} is in no row");
        }
    }
}

#[test]
fn what_does_not_apply_has_a_reason_and_no_row() {
    let text = fs::read_to_string(Path::new(ROOT).join("SECURITY.md")).expect("it is there");
    let section = text.split("## Weaknesses of others").nth(1).expect("there is a section for them");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> =
        section.lines().filter(|line| line.starts_with("| CVE-") || line.starts_with("| GHSA-")).collect();
    assert!(!rows.is_empty(), "the section has no rows");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 2 && !cells[1].is_empty(), "{row}");
        for id in cells[0].split(", ") {
            assert!(PUBLISHED.iter().all(|(published, _)| *published != id), "{id} has tests");
        }
    }
}
