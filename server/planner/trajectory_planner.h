// Plans trajectory matching: experts, and the segments that are matched to them
// (trajectory_matching.md of the project's references has the methods).
//
//   [score-net-r -> scores-r] x R -> ranking      when experts see easy images
//                                                 first (or: import_scores)
//   experts-G x ceil(count / group) -> segment-1  [probe-expert, range]
//   segment k >= 2:
//     [pool-K]  DASM: pool_planner.h
//     experts-K-G, which start from networks trained on the segments before it
//     -> segment-K                                [probe-expert-K, range-K]
//
// Experts hold nothing of the job (their seed is experts.seed) nor how many of
// them it wants, so that jobs share them: a job with more of them trains those
// that are missing. Fields that have no say in a task have one value in its
// parameters.
#ifndef DASM_SERVER_PLANNER_TRAJECTORY_PLANNER_H_
#define DASM_SERVER_PLANNER_TRAJECTORY_PLANNER_H_

#include "server/planner/graph_builder.h"

namespace dasm {

// Everything up to the last segment's task. The builder's spec has trajectory
// matching, the data set is added.
void AddMatchedSegments(GraphBuilder* builder);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_TRAJECTORY_PLANNER_H_
