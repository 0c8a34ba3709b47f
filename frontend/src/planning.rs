//! From intent and inspected images to the plan. Pure.
