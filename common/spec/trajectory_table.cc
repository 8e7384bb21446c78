#include "common/spec/trajectory_table.h"

#include <algorithm>
#include <cmath>

namespace dasm {

const std::vector<TrajectoryRow>& MttRows() {
  static const auto* const kRows = new std::vector<TrajectoryRow>{
      {.dataset = "cifar-10",
       .images_per_class = 1,
       .student_steps = 50,
       .start_epoch_max = 2,
       .image_learning_rate = 100,
       .step_size_learning_rate = 1e-7},
      {.dataset = "cifar-10",
       .images_per_class = 10,
       .student_steps = 30,
       .start_epoch_max = 20,
       .image_learning_rate = 100,
       .step_size_learning_rate = 1e-5,
       .step_size = 0.001},
      {.dataset = "cifar-10",
       .images_per_class = 50,
       .student_steps = 30,
       .start_epoch_max = 40,
       .image_learning_rate = 1000,
       .step_size_learning_rate = 1e-5,
       .step_size = 0.001,
       .zca = false},
  };
  return *kRows;
}

const TrajectoryRow& NearestMttRow(int images_per_class) {
  const double wanted = std::log(std::max(images_per_class, 1));
  const TrajectoryRow* nearest = nullptr;
  double distance = 0;
  for (const TrajectoryRow& row : MttRows()) {
    if (row.dataset != "cifar-10") continue;
    const double away = std::abs(std::log(row.images_per_class) - wanted);
    if (nearest != nullptr && away >= distance) continue;
    nearest = &row;
    distance = away;
  }
  return *nearest;
}

}  // namespace dasm
