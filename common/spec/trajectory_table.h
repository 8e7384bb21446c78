// Published hyper-parameters of trajectory matching, row by row. Where a paper
// and its released code differ there are two rows.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_
#define DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_

#include <string>
#include <vector>

namespace dasm {

// In the order of the published tables' columns.
struct TrajectoryRow {
  std::string dataset;  // "cifar-10", "tiny-imagenet", "imagenette", ...
  int images_per_class = 0;
  int student_steps = 0;        // N
  int matched_epochs = 0;       // M
  int start_epoch_min = 0;      // T-
  int start_epoch_initial = 0;  // T; 0: no growth
  int start_epoch_max = 0;      // T+, excluded
  int growth_iterations = 0;
  int batch = 0;                   // 0, or above the set: all
  double label_learning_rate = 0;  // 0: hard labels
  double image_learning_rate = 0;
  double step_size_learning_rate = 0;
  double step_size = 0;
  bool zca = false;
};

struct PublishedRow {
  TrajectoryRow row;
  bool repo = false;    // the released code's, where the paper has another
  std::string network;  // "resnet18", "resnet18-batch", ...; empty: convnet
  double skip_threshold = 0;
  double pixel_ema = 0;   // FTD
  double gsam_alpha = 0;  // FTD; 0: plain SGD
  double mask = 0;        // PAD: share of the first parameters
  // Initial images are real ones that need not be classified correctly, and
  // labels those of one expert (DATM's and PAD's usual ones are correct).
  bool real = false;
  bool teacher = false;  // TESLA's soft labels
  int experts = 100;
};

// One subset's own numbers of SeqMatch.
struct SubsetRow {
  int student_steps = 0;
  int matched_epochs = 0;
  int interval_end = 0;  // start epochs are below interval_end - matched_epochs
  double step_size = 0;
};

struct SeqMatchRow {
  // The numbers of the first subset; start_epoch_max and batch are unused.
  TrajectoryRow row;
  std::vector<SubsetRow> subsets;
  int batch = 0;  // 0: as many as the subset has
  bool repo = false;
};

// Cazenavette et al. 2022, as its author gave them to DC-bench.
const std::vector<PublishedRow>& MttRows();
// Du et al. 2023.
const std::vector<PublishedRow>& FtdRows();
// Cui et al. 2023, the released commands. Their image learning rates belong to
// half the gradient; these are for the whole one.
const std::vector<PublishedRow>& TeslaRows();
// Guo et al. 2024, table 6 and the released configurations.
const std::vector<PublishedRow>& DatmRows();
// Li et al. 2024, table 9 and the released configurations.
const std::vector<PublishedRow>& PadRows();
// Du et al. 2023 (SeqMatch), table 4 and the released script.
const std::vector<SeqMatchRow>& SeqMatchRows();

// The row of `dataset` whose number of images is nearest, as a ratio; of the
// paper where there are two; by convnet. Null where the data set has none.
const TrajectoryRow* NearestRow(const std::vector<PublishedRow>& rows,
                                const std::string& dataset,
                                int images_per_class);

// The six subsets of ten ImageNet classes: imagenette, imagewoof, ...
const std::vector<std::string>& ImageNetSubsets();

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_TABLE_H_
