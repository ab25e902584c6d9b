//! Tests of templates, conditions and their checks.

use super::*;
