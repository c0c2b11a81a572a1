//! Two ends on a virtual network and clock.
