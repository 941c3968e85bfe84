//! Tables of input and the settings that come out.
