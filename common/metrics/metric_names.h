// Every metric that DASM exports, with its help text and labels. Labels come
// from closed sets, never a job or user id; the one exception are the gauges of
// a running segment on its worker, which are removed when it ends.
#ifndef DASM_COMMON_METRICS_METRIC_NAMES_H_
#define DASM_COMMON_METRICS_METRIC_NAMES_H_

namespace dasm {

struct MetricName {
  const char* name;
  const char* help;
};

// Labels: state.
inline constexpr MetricName kJobs = {"dasm_jobs", "Jobs by state."};
// Labels: to.
inline constexpr MetricName kJobTransitions = {"dasm_job_transitions_total",
                                               "Jobs that entered a state."};
inline constexpr MetricName kQueueWaitSeconds = {
    "dasm_queue_wait_seconds",
    "Time from a task being ready to its first assignment."};
// Labels: reason.
inline constexpr MetricName kPendingTasks = {
    "dasm_pending_tasks", "Tasks that wait, by the reason why."};
// Labels: kind, result.
inline constexpr MetricName kAttempts = {
    "dasm_attempts_total",
    "Attempts that ended, by task kind and SUCCEEDED or failure class."};
// Labels: kind.
inline constexpr MetricName kSlotSeconds = {
    "dasm_slot_seconds_total",
    "Seconds that attempts held slots, each rank counted."};
// Labels: cause.
inline constexpr MetricName kRetries = {
    "dasm_retries_total", "Tasks queued again, by failure class."};
inline constexpr MetricName kLeaseExpirations = {"dasm_lease_expirations_total",
                                                 "Leases that ran out."};
inline constexpr MetricName kFenceRejections = {
    "dasm_fence_rejections_total",
    "Reports refused because a newer attempt exists."};
// Labels: result (hit, miss, joined, incomplete).
inline constexpr MetricName kActionCacheRequests = {
    "dasm_action_cache_requests_total",
    "Look-ups of a task's result by its action key."};
// Labels: op (read, write).
inline constexpr MetricName kArtifactBytes = {
    "dasm_artifact_bytes_total", "Bytes of blobs served and stored."};
inline constexpr MetricName kArtifactVerifyFailures = {
    "dasm_artifact_verify_failures_total",
    "Blobs whose bytes did not match their digest."};
inline constexpr MetricName kStoreCommitSeconds = {
    "dasm_store_commit_seconds",
    "Durable commits of the job store, each a group of requests."};
inline constexpr MetricName kSchedulerCycleSeconds = {
    "dasm_scheduler_cycle_seconds", "Scheduling decisions."};
// Labels: state.
inline constexpr MetricName kWorkers = {"dasm_workers", "Workers by state."};

// Labels: method, code.
inline constexpr MetricName kGrpcServerHandled = {
    "grpc_server_handled_total", "RPCs that ended, by status code."};
// Labels: method.
inline constexpr MetricName kGrpcServerHandlingSeconds = {
    "grpc_server_handling_seconds", "Time from call to answer."};

// On the coordinator: below --min-free no new work is taken.
inline constexpr MetricName kStoreFreeBytes = {
    "dasm_store_free_bytes", "Free bytes on the disk of database and blobs."};

// On a worker, while a segment runs there. Labels: task, segment.
inline constexpr MetricName kDistillMatchingLoss = {
    "dasm_distill_matching_loss",
    "Matching loss that the running segment reported last."};
// Labels: task, segment.
inline constexpr MetricName kDistillGradientNorm = {
    "dasm_distill_grad_norm",
    "Norm of the image gradient that the running segment reported last."};
// Labels: task, segment.
inline constexpr MetricName kDistillStepSize = {
    "dasm_distill_step_size",
    "Learned step size of the student that the running segment reported last."};
// Labels: task, segment.
inline constexpr MetricName kDistillStepSeconds = {
    "dasm_distill_step_seconds",
    "Seconds a step of the running segment took last."};
// On a worker, while a group of experts is trained there. Labels: task,
// experts.
inline constexpr MetricName kExpertTrainingLoss = {
    "dasm_expert_training_loss",
    "Training loss that the running group of experts reported last."};

// Labels: version.
inline constexpr MetricName kBuildInfo = {"dasm_build_info",
                                          "Always 1; the version is a label."};
inline constexpr MetricName kProcessResidentMemoryBytes = {
    "process_resident_memory_bytes", "Resident memory size in bytes."};
inline constexpr MetricName kProcessCpuSeconds = {
    "process_cpu_seconds_total", "User and system CPU time in seconds."};
inline constexpr MetricName kProcessOpenFds = {
    "process_open_fds", "Number of open file descriptors."};
inline constexpr MetricName kProcessStartTimeSeconds = {
    "process_start_time_seconds",
    "Start time of the process since the Unix epoch in seconds."};

}  // namespace dasm

#endif  // DASM_COMMON_METRICS_METRIC_NAMES_H_
