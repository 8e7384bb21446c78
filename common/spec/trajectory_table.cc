#include "common/spec/trajectory_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dasm {
namespace {

// A row of ImageNet subsets holds for each of them.
void AddForSubsets(const PublishedRow& published,
                   std::vector<PublishedRow>* rows) {
  for (const std::string& subset : ImageNetSubsets()) {
    PublishedRow row = published;
    row.row.dataset = subset;
    rows->push_back(std::move(row));
  }
}

// An iteration worse than doing nothing updates nothing, unless a row says
// otherwise.
std::vector<PublishedRow> WithSkipRule(std::vector<PublishedRow> rows) {
  for (PublishedRow& row : rows) {
    if (row.skip_threshold == 0) row.skip_threshold = 1;
  }
  return rows;
}

// Columns: data set, IPC, N, M, T-, T, T+, growth, batch, rates of labels,
// images and step size, step size, ZCA.
std::vector<PublishedRow> MakeMttRows() {
  std::vector<PublishedRow> rows = {
      {.row = {"cifar-10", 1, 50, 2, 0, 0, 2, 0, 0, 0, 100, 1e-7, 0.01, true}},
      {.row = {"cifar-10", 10, 30, 2, 0, 0, 20, 0, 0, 0, 100, 1e-5, 0.001,
               true}},
      {.row = {"cifar-10", 50, 30, 2, 0, 0, 40, 0, 0, 0, 1000, 1e-5, 0.001,
               false}},
      {.row = {"cifar-100", 1, 20, 3, 0, 0, 20, 0, 0, 0, 1000, 1e-5, 0.01,
               true}},
      {.row = {"cifar-100", 10, 20, 2, 0, 0, 20, 0, 0, 0, 1000, 1e-5, 0.01,
               false}},
      {.row = {"cifar-100", 50, 80, 2, 0, 0, 40, 0, 125, 0, 1000, 1e-5, 0.01,
               true}},
      {.row = {"tiny-imagenet", 1, 10, 2, 0, 0, 10, 0, 0, 0, 1e4, 1e-4, 0.01,
               false}},
      {.row = {"tiny-imagenet", 10, 20, 2, 0, 0, 40, 0, 200, 0, 1e4, 1e-4, 0.01,
               false}},
      {.row = {"tiny-imagenet", 50, 20, 2, 0, 0, 40, 0, 300, 0, 1e4, 1e-4, 0.01,
               false}},
  };
  // The author's answer for one image per class; the README's table has 1000.
  AddForSubsets({.row = {"", 1, 20, 2, 0, 0, 10, 0, 0, 0, 1e5, 1e-6, 0.01}},
                &rows);
  AddForSubsets({.row = {"", 1, 20, 2, 0, 0, 10, 0, 0, 0, 1000, 1e-6, 0.01},
                 .repo = true},
                &rows);
  AddForSubsets({.row = {"", 10, 20, 2, 0, 0, 10, 0, 20, 0, 1e5, 1e-6, 0.01}},
                &rows);
  return rows;
}

std::vector<PublishedRow> MakeFtdRows() {
  std::vector<PublishedRow> rows = {
      {.row = {"cifar-10", 1, 50, 2, 0, 0, 2, 0, 0, 0, 100, 1e-7, 0.01, true},
       .pixel_ema = 0.9999,
       .gsam_alpha = 0.3},
      {.row = {"cifar-10", 10, 30, 2, 0, 0, 20, 0, 0, 0, 100, 1e-5, 0.001,
               true},
       .pixel_ema = 0.9995,
       .gsam_alpha = 0.3},
      {.row = {"cifar-10", 50, 30, 2, 0, 0, 40, 0, 0, 0, 1000, 1e-5, 0.01,
               true},
       .pixel_ema = 0.999,
       .gsam_alpha = 1},
      {.row = {"cifar-100", 1, 40, 3, 0, 0, 20, 0, 0, 0, 1000, 1e-5, 0.01,
               true},
       .pixel_ema = 0.9995,
       .gsam_alpha = 1},
      {.row = {"cifar-100", 10, 20, 2, 0, 0, 40, 0, 0, 0, 1000, 1e-5, 0.01,
               true},
       .pixel_ema = 0.9995,
       .gsam_alpha = 1},
      {.row = {"cifar-100", 50, 80, 2, 0, 0, 40, 0, 1000, 0, 1000, 1e-5, 0.01,
               true},
       .pixel_ema = 0.999,
       .gsam_alpha = 1},
      {.row = {"tiny-imagenet", 1, 30, 2, 0, 0, 10, 0, 0, 0, 1e4, 1e-4, 0.01,
               false},
       .pixel_ema = 0.999,
       .gsam_alpha = 1},
      {.row = {"tiny-imagenet", 10, 20, 2, 0, 0, 40, 0, 500, 0, 1e4, 1e-4, 0.01,
               false},
       .pixel_ema = 0.999,
       .gsam_alpha = 1},
  };
  AddForSubsets({.row = {"", 1, 20, 2, 0, 0, 10, 0, 64, 0, 1e4, 1e-4, 0.01},
                 .pixel_ema = 0.999,
                 .gsam_alpha = 1},
                &rows);
  AddForSubsets({.row = {"", 10, 20, 2, 0, 0, 10, 0, 64, 0, 1e4, 1e-4, 0.001},
                 .pixel_ema = 0.999,
                 .gsam_alpha = 1},
                &rows);
  return rows;
}

std::vector<PublishedRow> MakeTeslaRows() {
  return {
      {.row = {"cifar-10", 1, 50, 2, 0, 0, 5, 0, 0, 0, 500, 1e-7, 0.01, false}},
      {.row = {"cifar-100", 50, 80, 2, 0, 0, 40, 0, 125, 0, 500, 1e-5, 0.01,
               true}},
      {.row = {"imagenet-1k", 1, 10, 3, 0, 0, 10, 0, 100, 0, 5000, 1e-4, 0.01,
               false},
       .teacher = true,
       .experts = 50},
  };
}

std::vector<PublishedRow> MakeDatmRows() {
  return WithSkipRule({
      {.row = {"cifar-10", 1, 80, 2, 0, 0, 4, 0, 10, 5, 100, 1e-7, 0.01, true},
       .skip_threshold = 1.1},
      {.row = {"cifar-10", 10, 80, 2, 0, 10, 20, 1000, 100, 2, 100, 1e-5, 0.01,
               true}},
      {.row = {"cifar-10", 50, 80, 2, 0, 20, 40, 2000, 500, 2, 1000, 1e-5, 0.01,
               true}},
      {.row = {"cifar-10", 500, 80, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true}},
      {.row = {"cifar-10", 500, 40, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .repo = true},
      {.row = {"cifar-10", 1000, 80, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true}},
      {.row = {"cifar-10", 1000, 100, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .repo = true},
      {.row = {"cifar-100", 1, 40, 3, 0, 10, 20, 1000, 1000, 10, 1000, 1e-5,
               0.01, true}},
      {.row = {"cifar-100", 10, 80, 2, 0, 30, 50, 2000, 1000, 10, 1000, 1e-5,
               0.01, true}},
      {.row = {"cifar-100", 50, 80, 2, 20, 0, 70, 0, 1000, 10, 1000, 1e-5, 0.01,
               true}},
      {.row = {"cifar-100", 50, 80, 2, 20, 0, 70, 0, 1000, 10, 1000, 1e-5, 0.01,
               true},
       .repo = true,
       .real = true},
      {.row = {"cifar-100", 100, 80, 2, 30, 0, 70, 0, 1000, 10, 50, 1e-5, 0.01,
               true}},
      {.row = {"tiny-imagenet", 1, 60, 2, 0, 15, 20, 2000, 200, 10, 1e4, 1e-4,
               0.01, true}},
      {.row = {"tiny-imagenet", 1, 40, 2, 0, 15, 20, 2000, 1000, 10, 1e4, 1e-4,
               0.01, true},
       .repo = true},
      {.row = {"tiny-imagenet", 10, 60, 2, 10, 0, 50, 0, 250, 10, 100, 1e-4,
               0.01, true}},
      {.row = {"tiny-imagenet", 10, 40, 2, 10, 0, 50, 0, 500, 10, 100, 1e-4,
               0.01, true},
       .repo = true},
      {.row = {"tiny-imagenet", 50, 80, 2, 40, 0, 70, 0, 250, 10, 100, 1e-4,
               0.01, true}},
      {.row = {"tiny-imagenet", 50, 20, 2, 40, 0, 70, 0, 1000, 10, 100, 1e-4,
               0.01, true},
       .repo = true},
      // Other networks and data sets, in the history of the configurations
      // only.
      {.row = {"cifar-10", 10, 30, 2, 1, 6, 20, 10, 1000, 2, 100, 1e-5, 0.01,
               true},
       .repo = true,
       .network = "resnet18"},
      {.row = {"cifar-10", 50, 30, 2, 1, 0, 20, 0, 1000, 2, 1000, 1e-5, 0.01,
               true},
       .repo = true,
       .network = "resnet18"},
      {.row = {"cifar-10", 500, 30, 2, 20, 46, 48, 22, 1000, 2, 50, 1e-5, 0.01,
               true},
       .repo = true,
       .network = "resnet18"},
      {.row = {"cifar-10", 1000, 30, 2, 30, 46, 50, 10, 1000, 2, 50, 1e-5, 0.01,
               true},
       .repo = true,
       .network = "resnet18"},
      {.row = {"cifar-10", 2000, 30, 2, 50, 56, 60, 10, 1000, 10, 50, 1e-5,
               0.01, true},
       .repo = true,
       .network = "resnet18"},
      {.row = {"cifar-10", 1000, 30, 2, 40, 46, 48, 10, 1000, 10, 50, 1e-5,
               0.01, true},
       .repo = true,
       .network = "resnet18-batch"},
      {.row = {"cifar-10", 1000, 80, 2, 40, 46, 60, 10, 1000, 10, 50, 1e-5,
               0.01, true},
       .repo = true,
       .network = "convnet-batch"},
      {.row = {"imagenette", 1, 20, 2, 0, 8, 10, 1, 0, 1000, 1e4, 1e-6, 0.001,
               false},
       .repo = true},
      {.row = {"imagenette", 10, 40, 2, 0, 8, 10, 1, 0, 5, 1e5, 1e-6, 0.01,
               false},
       .repo = true,
       .skip_threshold = 2},
      {.row = {"imagenette", 200, 60, 2, 30, 36, 40, 1, 100, 10, 50, 1e-6,
               0.001, false},
       .repo = true},
      {.row = {"imagenet-1k", 1, 20, 2, 10, 14, 20, 5, 1000, 2, 1e4, 1e-4, 0.01,
               false},
       .repo = true},
      {.row = {"imagenet-1k", 10, 30, 2, 10, 14, 20, 5, 500, 10, 100, 1e-5,
               0.01, false},
       .repo = true},
      {.row = {"imagenet-1k", 50, 30, 2, 0, 14, 20, 5, 500, 10, 1e4, 1e-5, 0.01,
               false},
       .repo = true},
  });
}

// Rates and thresholds are DATM's. Table 9 gives no interval between two
// growths for CIFAR: DATM's, 100 iterations.
std::vector<PublishedRow> MakePadRows() {
  return WithSkipRule({
      {.row = {"cifar-10", 1, 80, 2, 0, 0, 4, 0, 10, 5, 100, 1e-7, 0.01, true},
       .skip_threshold = 1.1},
      {.row = {"cifar-10", 10, 80, 2, 0, 10, 20, 1000, 100, 2, 100, 1e-5, 0.01,
               true},
       .mask = 0.25},
      {.row = {"cifar-10", 10, 80, 2, 0, 10, 20, 1000, 500, 2, 100, 1e-5, 0.01,
               true},
       .repo = true,
       .mask = 0.5},
      {.row = {"cifar-10", 50, 80, 2, 0, 20, 40, 2000, 500, 2, 1000, 1e-5, 0.01,
               true},
       .mask = 0.25},
      {.row = {"cifar-10", 50, 80, 3, 0, 20, 40, 2000, 1000, 2, 1000, 1e-5,
               0.01, true},
       .repo = true,
       .mask = 0.25},
      {.row = {"cifar-10", 500, 80, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .mask = 0.5},
      {.row = {"cifar-10", 500, 40, 2, 40, 60, 70, 2000, 1000, 10, 50, 1e-5,
               0.01, true},
       .repo = true,
       .mask = 0.5},
      {.row = {"cifar-10", 1000, 80, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .mask = 0.75},
      {.row = {"cifar-10", 1000, 100, 2, 40, 0, 60, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .repo = true,
       .mask = 0.5},
      {.row = {"cifar-100", 1, 40, 3, 0, 10, 20, 1000, 100, 10, 1000, 1e-5,
               0.01, true}},
      {.row = {"cifar-100", 1, 40, 3, 0, 20, 30, 1000, 1000, 10, 1000, 1e-5,
               0.01, true},
       .repo = true,
       .mask = 0.5},
      {.row = {"cifar-100", 10, 80, 2, 0, 20, 40, 2000, 1000, 10, 1000, 1e-5,
               0.01, true},
       .mask = 0.25},
      {.row = {"cifar-100", 10, 80, 2, 0, 30, 50, 2000, 1000, 10, 1000, 1e-5,
               0.01, true},
       .repo = true,
       .mask = 0.5},
      {.row = {"cifar-100", 50, 80, 2, 40, 60, 80, 2000, 1000, 10, 1000, 1e-5,
               0.01, true},
       .mask = 0.5},
      {.row = {"cifar-100", 50, 80, 2, 20, 0, 70, 0, 1000, 10, 1000, 1e-5, 0.01,
               true},
       .repo = true,
       .real = true},
      {.row = {"cifar-100", 100, 80, 2, 40, 0, 80, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .mask = 0.5},
      {.row = {"cifar-100", 100, 80, 2, 30, 0, 70, 0, 1000, 10, 50, 1e-5, 0.01,
               true},
       .repo = true,
       .mask = 0.5},
      {.row = {"tiny-imagenet", 1, 60, 2, 0, 15, 30, 6000, 200, 10, 1e4, 1e-4,
               0.01, true}},
      {.row = {"tiny-imagenet", 1, 40, 2, 0, 15, 20, 2000, 1000, 10, 1e4, 1e-4,
               0.01, true},
       .repo = true,
       .mask = 0.5},
      {.row = {"tiny-imagenet", 10, 60, 2, 0, 20, 40, 2000, 250, 10, 100, 1e-4,
               0.01, true},
       .mask = 0.25},
      {.row = {"tiny-imagenet", 10, 40, 2, 10, 0, 50, 0, 500, 10, 100, 1e-4,
               0.01, true},
       .repo = true,
       .mask = 0.5},
      {.row = {"tiny-imagenet", 50, 80, 2, 20, 40, 60, 2000, 250, 10, 100, 1e-4,
               0.01, true},
       .mask = 0.5},
      {.row = {"tiny-imagenet", 50, 20, 2, 40, 0, 70, 0, 1000, 10, 100, 1e-4,
               0.01, true},
       .repo = true,
       .mask = 0.5},
  });
}

std::vector<SeqMatchRow> MakeSeqMatchRows() {
  std::vector<SeqMatchRow> rows = {
      {.row = {"cifar-10", 10, 30, 2, 0, 0, 0, 0, 0, 0, 100, 1e-5, 0.001, true},
       .subsets = {{30, 2, 20, 0.001}, {80, 3, 10, 0.001}}},
      {.row = {"cifar-10", 50, 30, 2, 0, 0, 0, 0, 0, 0, 100, 1e-5, 0.01, true},
       .subsets = {{30, 2, 20, 0.01}, {30, 2, 20, 0.01}, {30, 2, 10, 0.01}}},
      {.row = {"cifar-10", 50, 30, 2, 0, 0, 0, 0, 0, 0, 100, 1e-5, 0.01, true},
       .subsets = {{30, 2, 20, 0.001}, {30, 2, 20, 0.01}, {30, 2, 10, 0.01}},
       .repo = true},
      {.row = {"cifar-100", 10, 30, 2, 0, 0, 0, 0, 0, 0, 1000, 1e-5, 0.01,
               true},
       .subsets = {{30, 2, 20, 0.01}, {30, 2, 40, 0.01}}},
      {.row = {"cifar-100", 50, 80, 2, 0, 0, 0, 0, 0, 0, 1000, 1e-5, 0.01,
               true},
       .subsets = {{80, 2, 40, 0.01}, {80, 2, 20, 0.01}, {80, 2, 20, 0.01}},
       .batch = 125},
      {.row = {"tiny-imagenet", 10, 20, 2, 0, 0, 0, 0, 0, 0, 1e4, 1e-4, 0.01,
               false},
       .subsets = {{20, 2, 20, 0.01}, {20, 2, 10, 0.01}},
       .batch = 100},
  };
  for (const char* subset :
       {"imagenette", "imagewoof", "imagefruit", "imagemeow"}) {
    const int second = std::string(subset) == "imagefruit" ? 10 : 5;
    rows.push_back(
        {.row = {subset, 10, 20, 2, 0, 0, 0, 0, 0, 0, 1e5, 1e-6, 0.01, false},
         .subsets = {{20, 2, 10, 0.01}, {20, 2, second, 0.01}},
         .batch = 20});
  }
  return rows;
}

}  // namespace

const std::vector<PublishedRow>& MttRows() {
  static const auto* const kRows = new std::vector<PublishedRow>(MakeMttRows());
  return *kRows;
}

const std::vector<PublishedRow>& FtdRows() {
  static const auto* const kRows = new std::vector<PublishedRow>(MakeFtdRows());
  return *kRows;
}

const std::vector<PublishedRow>& TeslaRows() {
  static const auto* const kRows =
      new std::vector<PublishedRow>(MakeTeslaRows());
  return *kRows;
}

const std::vector<PublishedRow>& DatmRows() {
  static const auto* const kRows =
      new std::vector<PublishedRow>(MakeDatmRows());
  return *kRows;
}

const std::vector<PublishedRow>& PadRows() {
  static const auto* const kRows = new std::vector<PublishedRow>(MakePadRows());
  return *kRows;
}

const std::vector<SeqMatchRow>& SeqMatchRows() {
  static const auto* const kRows =
      new std::vector<SeqMatchRow>(MakeSeqMatchRows());
  return *kRows;
}

const TrajectoryRow* NearestRow(const std::vector<PublishedRow>& rows,
                                const std::string& dataset,
                                int images_per_class) {
  const double wanted = std::log(std::max(images_per_class, 1));
  const TrajectoryRow* nearest = nullptr;
  double distance = 0;
  for (const PublishedRow& published : rows) {
    const TrajectoryRow& row = published.row;
    if (row.dataset != dataset || published.repo ||
        !published.network.empty()) {
      continue;
    }
    const double away = std::abs(std::log(row.images_per_class) - wanted);
    if (nearest != nullptr && away >= distance) continue;
    nearest = &row;
    distance = away;
  }
  return nearest;
}

const std::vector<std::string>& ImageNetSubsets() {
  static const auto* const kNames =
      new std::vector<std::string>{"imagenette",  "imagewoof",  "imagemeow",
                                   "imagesquawk", "imagefruit", "imageyellow"};
  return *kNames;
}

}  // namespace dasm
