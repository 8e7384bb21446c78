// Plans what stands between two segments of DASM: networks trained on the
// segments so far, what they make of the training images, and the pool of what
// they have not learned.
//   (discriminator-K-d -> scores-K-d) x D -> pool-K
#ifndef DASM_SERVER_PLANNER_POOL_PLANNER_H_
#define DASM_SERVER_PLANNER_POOL_PLANNER_H_

#include <string>

#include "server/planner/graph_builder.h"

namespace dasm {

// reference, reference-scores: a network trained on real data, whose EL2N
// deciles the learned fraction is reported by. The same for every job on the
// data set.
void AddReference(GraphBuilder* builder);

// The pool of segment k >= 2.
void AddPool(int k, GraphBuilder* builder);

// score_samples of the weights that `network_task` trained.
void AddScores(const std::string& id, const std::string& network_task,
               bool grand, GraphBuilder* builder);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_POOL_PLANNER_H_
