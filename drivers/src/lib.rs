//! Physical devices.
#![no_std]
