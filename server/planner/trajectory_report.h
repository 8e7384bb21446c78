// What report.json says of a job that matched trajectories, and which of its
// sets the job's accuracy is of.
//
// Members:
//   protocol, protocol_meaning  "last", "validation" or "paper", and in words
//               what "accuracy" and "raw" then are. All of the report's
//               accuracies are of the test images unless a "split" says
//               otherwise.
//   snapshot    {"iteration", "digest"} of the chosen set (of the last
//               segment); with protocol last there is none
//   snapshots   what could be chosen, the end of the run included: [{
//               "iteration", "split", "accuracy"}]
//   raw         {"accuracy"} of the pixels behind a moving average, by the same
//               protocol; {"iteration"} where one was chosen
//   orders      of several segments, in the order of evaluation.orders and at
//               the end of the run: {order: {"accuracy"}}
//   step_sizes, label_entropy, skipped_iterations   a number a segment, at the
//               end of the run; label_entropy with soft labels
//   ranges      of a found matching range: [{"segment", what its task reports}]
//   experts     [{"segment", "count", "epochs", "training_accuracy",
//               "final_loss"}]: means over the experts matched, percent
#ifndef DASM_SERVER_PLANNER_TRAJECTORY_REPORT_H_
#define DASM_SERVER_PLANNER_TRAJECTORY_REPORT_H_

#include "nlohmann/json.hpp"
#include "server/planner/accuracy_table.h"
#include "server/planner/report.h"

namespace dasm {

// The job's accuracy by its protocol.
const Accuracies& ChosenAccuracies(const JobResult& result,
                                   const AccuracyTable& table);

// `result` is of a job with trajectory matching.
void AddTrajectoryMembers(const JobResult& result, const AccuracyTable& table,
                          nlohmann::ordered_json* report);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_TRAJECTORY_REPORT_H_
