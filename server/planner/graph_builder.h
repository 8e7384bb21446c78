// What the parts of the planner write into: a job, its data, and the tasks
// planned so far.
//
// Task ids that several parts refer to: "prepare", "whiten", "segment-K",
// "assemble". Not thread-safe; borrows the spec.
#ifndef DASM_SERVER_PLANNER_GRAPH_BUILDER_H_
#define DASM_SERVER_PLANNER_GRAPH_BUILDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/planner/planner.h"

namespace dasm {

class GraphBuilder {
 public:
  GraphBuilder(const JobSpec& spec, const ResolvedDataset& dataset);

  const JobSpec& spec() const { return spec_; }
  // As the next task reads it.
  const ResolvedDataset& dataset() const { return dataset_; }
  TaskGraph& graph() { return graph_; }

  // prepare, and whiten where the job asks for it.
  void AddDataset();
  // A task with its costs (task_cost.h has `input_images` and `parts`). The
  // reference holds until the next call.
  PlannedTask& Add(std::string id, TaskParameters parameters,
                   int64_t input_images,
                   const std::vector<int64_t>& parts = {});
  // The same for a task that reads the data set.
  PlannedTask& AddReader(std::string id, TaskParameters parameters,
                         int64_t input_images,
                         const std::vector<int64_t>& parts = {});

  static TaskInputRef From(std::string task, std::string output) {
    return {.task = std::move(task), .output = std::move(output)};
  }
  // segment.1 .. segment.count.
  static void AddSegmentInputs(int count, PlannedTask* task);

  int segments() const {
    return static_cast<int>(spec_.sequence.segments.size());
  }
  bool has_pools() const {
    return segments() > 1 && !spec_.sequence.seqmatch &&
           spec_.sequence.pool != PoolRule::kAll;
  }
  int factor_squared() const {
    return spec_.synthesis.factor * spec_.synthesis.factor;
  }
  // Stored images of segment k (1-based), over all classes.
  int64_t StoredIn(int k) const;
  // Of the segments 1 .. count.
  int64_t StoredUpTo(int count) const;
  // Decoded images of each of the segments 1 .. count.
  std::vector<int64_t> DecodedParts(int count) const;
  // Of what matches nothing: micro_batch has no say in it, and none in its key.
  ExecutionSpec Uncut() const;
  // What fast_ranks of a segment's task is.
  int FastRanks() const;

 private:
  const JobSpec& spec_;
  ResolvedDataset dataset_;
  TaskGraph graph_;
};

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_GRAPH_BUILDER_H_
