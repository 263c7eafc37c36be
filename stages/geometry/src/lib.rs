//! Distances, geodesics, progress and trajectories in the space of predictions.
