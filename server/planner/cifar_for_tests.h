// The data set of most plans, for tests.
#ifndef DASM_SERVER_PLANNER_CIFAR_FOR_TESTS_H_
#define DASM_SERVER_PLANNER_CIFAR_FOR_TESTS_H_

#include "server/planner/planner.h"

namespace dasm {

// CIFAR-10 with scores for every image.
inline ResolvedDataset Cifar() {
  return {.classes = 10,
          .channels = 3,
          .height = 32,
          .width = 32,
          .train_images = 50000,
          .test_images = 10000,
          .score_files = {{"scores", "scores.npy", "sha256:5"}}};
}

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_CIFAR_FOR_TESTS_H_
