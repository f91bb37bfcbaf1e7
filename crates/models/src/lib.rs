//! The known architectures as an independent reference forward pass in f32 and f64.
