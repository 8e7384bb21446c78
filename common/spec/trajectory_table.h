// Published hyper-parameters of trajectory matching, row by row.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_
#define DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_

#include <string>
#include <vector>

#include "common/spec/job_spec.h"

namespace dasm {

struct TrajectoryRow {
  std::string dataset;  // "cifar-10", "tiny-imagenet", "imagenette", ...
  int images_per_class = 0;
  int student_steps = 0;        // N
  int matched_epochs = 2;       // M
  int start_epoch_min = 0;      // T-
  int start_epoch_initial = 0;  // T; 0: no growth
  int start_epoch_max = 0;      // T+
  int growth_iterations = 0;
  int batch = 0;  // 0: all; a published one above the set is "all" too
  double image_learning_rate = 0;
  double label_learning_rate = 0;  // 0: hard labels
  double step_size_learning_rate = 0;
  double step_size = 0.01;
  bool zca = true;
};

// MTT (Cazenavette et al. 2022): the table that its author gave to DC-bench.
const std::vector<TrajectoryRow>& MttRows();

// The CIFAR-10 row of MTT whose number of images is nearest, as a ratio.
const TrajectoryRow& NearestMttRow(int images_per_class);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_
