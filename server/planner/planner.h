// From a validated spec to its task graph: a pure function.
//
//   dasm   prepare -> segment-1 -> (discriminator-2-d -> scores-2-d) x D
//            -> pool-2 -> segment-2 -> ... -> assemble -> evaluations
//   idc    prepare -> segment-1 -> assemble -> evaluations
//   trajectory  prepare -> experts -> segment-1 -> assemble -> evaluations
//            (trajectory_planner.h: scores, ranges, experts of later segments)
//   evaluate  prepare -> set -> evaluations
// With ZCA a task "whiten" follows prepare, and every other task reads its data
// set. Evaluations are one task per set, network and repeat: the synthetic set
// in each order of training on its segments, its snapshots where a protocol
// chooses among them, the baselines (random, tiles, start) and, of several
// segments, each proper prefix (evaluation_planner.h).
#ifndef DASM_SERVER_PLANNER_PLANNER_H_
#define DASM_SERVER_PLANNER_PLANNER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "common/spec/task_parameters.h"
#include "server/planner/scaling_model.h"

namespace dasm {

// What the coordinator found out about the data at submit.
struct ResolvedDataset {
  int classes = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t train_images = 0;
  int64_t test_images = 0;
  // Of a data set as tasks read it: those that are not among train_images, and
  // 4 once it is whitened.
  int64_t validation_images = 0;
  int bytes_per_pixel = 1;
  struct File {
    std::string role;
    std::string path;
    std::string digest;
  };
  std::vector<File> files;
  std::vector<File> set_files;    // of an evaluate-only job
  int64_t set_images = 0;         // of an evaluate-only job, if known
  std::vector<File> score_files;  // role "scores", of experts.schedule
};

struct TaskInputRef {
  std::string task;  // empty: a blob known at submit
  std::string output;
  std::string digest;
  int64_t size_bytes = 0;
};

// Predictions (docs/architecture.md names the formulas).
struct TaskCost {
  double flops = 0;
  int64_t memory_bytes = 0;
  // Of distill_segment and match_trajectories: at most fixed + per image *
  // micro-batch; of train_experts with train_group in its place.
  int64_t fixed_memory_bytes = 0;
  int64_t memory_bytes_per_image = 0;
  int64_t artifact_bytes = 0;
  // Payload that rank 0 of the gang sends, beside a trainer rank that rank 1
  // does, which sends most; 0 with one rank.
  int64_t reduced_bytes_per_step = 0;
  int64_t steps = 0;
};

struct PlannedTask {
  std::string id;
  TaskParameters parameters;
  std::map<std::string, TaskInputRef> inputs;
  std::vector<ResolvedDataset::File> source_files;
  int ranks = 1;
  TaskCost cost;
};

struct TaskGraph {
  std::vector<PlannedTask> tasks;  // parents before children
  // What the user should know though it is not wrong, field first.
  std::vector<std::string> warnings;
  // Of segment-1, at 1, 2, 4, 8 and 64 ranks over NVLink and Ethernet; empty
  // when nothing is distilled.
  std::vector<ScalingRow> scaling;
  // TrainerAdvice for the job's ranks.
  std::string scaling_advice;
};

// Fills in what follows from the data: evaluation steps and with them those of
// baselines, prefixes and discriminators, and the student's batch.
// INVALID_ARGUMENT naming a field when the combination cannot be planned.
absl::StatusOr<TaskGraph> PlanJob(const JobSpec& spec,
                                  const ResolvedDataset& dataset);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_PLANNER_H_
