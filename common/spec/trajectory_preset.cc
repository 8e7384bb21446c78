#include "common/spec/trajectory_preset.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/spec/known_dataset.h"
#include "common/spec/sequence_reader.h"
#include "common/spec/spec_enums.h"
#include "common/spec/trajectory_default.h"
#include "common/spec/trajectory_table.h"

namespace dasm {
namespace {

// A data set that is no known one: folders below the --data folders.
struct Folder {
  std::string name;
  std::string path;
  int classes = 0;
  int side = 0;
  int depth = 0;  // of the ConvNet whose last map is 4 x 4
};

const Folder* FindFolder(const std::string& dataset) {
  static const auto* const kFolders = [] {
    auto* folders = new std::vector<Folder>{
        {"tiny-imagenet", "tiny-imagenet-200", 200, 64, 4},
        {"imagenet-1k", "imagenet-1k", 1000, 64, 4}};
    for (const std::string& subset : ImageNetSubsets()) {
      folders->push_back({subset, subset, 10, 128, 5});
    }
    return folders;
  }();
  for (const Folder& folder : *kFolders) {
    if (folder.name == dataset) return &folder;
  }
  return nullptr;
}

enum class Kind { kMtt, kFtd, kTesla, kDatm, kPad };

struct Method {
  Kind kind;
  std::string name;
  std::string title;
  std::string paper;
  std::string repo;
  const std::vector<PublishedRow>* rows;
};

const std::vector<Method>& Methods() {
  static const auto* const kMethods = new std::vector<Method>{
      {Kind::kMtt, "mtt", "MTT",
       "Cazenavette et al. 2022 (MTT), its author's parameters in DC-bench",
       "Cazenavette et al. 2022 (MTT), table of the released code", &MttRows()},
      {Kind::kFtd, "ftd", "FTD",
       "Du et al. 2023 (FTD), parameter table of the released code; ImageNet "
       "subsets: its author's answer to a question",
       "", &FtdRows()},
      {Kind::kTesla, "tesla", "TESLA",
       "Cui et al. 2023 (TESLA), commands of the released code, whose "
       "gradient is half of the estimator's: its image learning rate is "
       "halved here",
       "", &TeslaRows()},
      {Kind::kDatm, "datm", "DATM", "Guo et al. 2024 (DATM), table 6",
       "Guo et al. 2024 (DATM), configurations of the released code",
       &DatmRows()},
      {Kind::kPad, "pad", "PAD", "Li et al. 2024 (PAD), table 9",
       "Li et al. 2024 (PAD), configurations of the released code", &PadRows()},
  };
  return *kMethods;
}

bool LearnsLabels(Kind kind) {
  return kind == Kind::kDatm || kind == Kind::kPad;
}

int Classes(const std::string& dataset) {
  const KnownDataset* known = FindKnownDataset(dataset);
  return known != nullptr ? known->classes : FindFolder(dataset)->classes;
}

void SetDataset(const std::string& dataset, bool zca, v1::JobSpec* spec) {
  v1::DatasetSpec& to = *spec->mutable_dataset();
  const Folder* folder = FindFolder(dataset);
  if (folder == nullptr) {
    to.set_name(dataset);
  } else {
    v1::ImageFolder& files = *to.mutable_image_folder();
    files.set_train(folder->path + "/train");
    files.set_test(folder->path + "/val");
    files.set_size(folder->side);
    files.set_channels(3);
    for (const float mean : {0.485f, 0.456f, 0.406f}) to.add_mean(mean);
    for (const float std : {0.229f, 0.224f, 0.225f}) to.add_std(std);
    spec->mutable_network()->set_depth(folder->depth);
  }
  to.set_preprocessing(zca ? v1::DatasetSpec::PREPROCESSING_ZCA
                           : v1::DatasetSpec::PREPROCESSING_NORMALIZE);
}

void SetNetwork(const std::string& network, v1::JobSpec* spec) {
  if (network.empty()) return;
  v1::NetworkSpec& to = *spec->mutable_network();
  const bool batch = network.ends_with("-batch");
  if (!network.starts_with("convnet")) {
    to.clear_depth();
    to.clear_width();
    to.set_name(network.substr(0, network.find('-')));
  }
  to.set_norm(batch ? v1::NetworkSpec::NORM_BATCH
                    : v1::NetworkSpec::NORM_INSTANCE);
}

// PAD's schedule: three quarters of a class at first; the easiest leave late,
// and CIFAR-10's in two steps.
void SetSchedule(const std::string& dataset, v1::ExpertSpec* experts) {
  v1::DataSchedule& schedule = *experts->mutable_schedule();
  const bool cifar10 = dataset == "cifar-10";
  schedule.set_initial_share(0.75f);
  schedule.set_growth_epochs(cifar10 ? 20 : 40);
  v1::DataSchedule::Removal* removal = schedule.add_removals();
  removal->set_after_epoch(40);
  removal->set_share(0.1f);
  if (cifar10) {
    removal = schedule.add_removals();
    removal->set_after_epoch(60);
    removal->set_share(0.2f);
  }
  schedule.set_gradual(false);
  schedule.set_score(v1::DataSchedule::SCORE_EL2N);
  schedule.set_score_runs(10);
  schedule.set_score_epoch(20);
}

// What belongs to the whole method, and what a row has beside its numbers.
void SetMethod(Kind kind, const PublishedRow& published, v1::JobSpec* spec) {
  v1::TrajectoryMatching& matching =
      *spec->mutable_matching()->mutable_trajectory();
  v1::ExpertSpec& experts = *spec->mutable_experts();
  matching.set_iterations(kind == Kind::kMtt || kind == Kind::kFtd ? 5000
                                                                   : 10000);
  matching.set_skip_threshold(static_cast<float>(published.skip_threshold));
  matching.set_pixel_ema(static_cast<float>(published.pixel_ema));
  matching.set_mask_to(static_cast<float>(published.mask));
  experts.set_count(published.experts);
  if (kind == Kind::kTesla) {
    matching.set_estimator(v1::TrajectoryMatching::ESTIMATOR_TESLA);
  }
  if (published.teacher) {
    matching.set_labels(v1::TrajectoryMatching::LABELS_TEACHER);
  }
  if (published.gsam_alpha > 0 || LearnsLabels(kind)) {
    constexpr double kDatmAlpha = 0.3;
    experts.set_optimizer(v1::ExpertSpec::OPTIMIZER_GSAM);
    experts.set_gsam_alpha(static_cast<float>(
        published.gsam_alpha > 0 ? published.gsam_alpha : kDatmAlpha));
  }
  if (!LearnsLabels(kind)) return;
  experts.set_epochs(100);
  if (published.real) {
    matching.set_label_experts(v1::TrajectoryMatching::LABEL_EXPERTS_FIRST);
  } else {
    spec->mutable_synthesis()->set_init(v1::SynthesisSpec::INIT_CORRECT);
  }
  if (kind == Kind::kPad) SetSchedule(published.row.dataset, &experts);
}

struct Shape {
  bool dasm = false;
  bool seqmatch = false;
  int smallest_segment = 0;  // images per class
};

v1::JobSpec SpecOf(Kind kind, const PublishedRow& published,
                   const Shape& shape) {
  TrajectoryRow row = published.row;
  const int64_t set = int64_t{shape.smallest_segment} * Classes(row.dataset);
  if (row.batch >= set) row.batch = 0;
  const KnownDataset* known = FindKnownDataset(row.dataset);
  v1::JobSpec spec =
      DefaultSpec({.dataset = known != nullptr ? row.dataset : "",
                   .images_per_class = row.images_per_class,
                   .dasm = shape.dasm,
                   .seqmatch = shape.seqmatch,
                   .trajectory = true,
                   .soft_labels = LearnsLabels(kind)});
  SetDataset(row.dataset, row.zca, &spec);
  spec.set_images_per_class(row.images_per_class);
  SetTrajectory(row, known == nullptr || known->flip, &spec);
  SetNetwork(published.network, &spec);
  SetMethod(kind, published, &spec);
  return spec;
}

void SetQuick(Kind kind, v1::JobSpec* spec) {
  v1::TrajectoryMatching& matching =
      *spec->mutable_matching()->mutable_trajectory();
  const bool one = spec->images_per_class() == 1;
  matching.set_iterations(one ? 300 : 200);
  matching.set_student_steps(one ? 20 : 10);
  matching.set_matched_epochs(2);
  matching.set_start_epoch_min(0);
  matching.clear_start_epoch_initial();
  matching.set_start_epoch_max(3);
  matching.set_growth_iterations(0);
  matching.set_batch(0);
  // Measured: at 1000 grey images gain less (docs/results.md).
  const KnownDataset& known = *FindKnownDataset(spec->dataset().name());
  matching.set_image_learning_rate(known.mean.size() == 1 ? 100 : 1000);
  matching.set_step_size(0.01f);
  matching.set_step_size_learning_rate(1e-5f);
  if (LearnsLabels(kind)) {
    matching.set_start_epoch_initial(2);
    matching.set_start_epoch_max(4);
    matching.set_growth_iterations(100);
  }
  // A published one would still be near the start.
  if (kind == Kind::kFtd) matching.set_pixel_ema(0.95f);
  v1::ExpertSpec& experts = *spec->mutable_experts();
  experts.set_count(10);
  experts.set_epochs(5);
  if (experts.has_schedule()) {
    v1::DataSchedule& schedule = *experts.mutable_schedule();
    schedule.set_growth_epochs(2);
    schedule.clear_removals();
    v1::DataSchedule::Removal& removal = *schedule.add_removals();
    removal.set_after_epoch(3);
    removal.set_share(0.1f);
    schedule.set_score_runs(2);
    schedule.set_score_epoch(5);
  }
  spec->mutable_evaluation()->set_epochs(300);
}

constexpr char kQuickSummary[] = ", for a CPU with network.width 32";

std::string Summary(const std::string& title, const PublishedRow& published) {
  std::string summary =
      absl::StrCat(title, ", ", published.row.dataset, ", ",
                   published.row.images_per_class, " images per class");
  if (!published.network.empty()) {
    absl::StrAppend(&summary, ", ", published.network);
  }
  if (published.repo) absl::StrAppend(&summary, ", as its code was released");
  const Folder* folder = FindFolder(published.row.dataset);
  if (folder != nullptr) {
    absl::StrAppend(&summary, "; pictures in ", folder->path, "/train/CLASS/, ",
                    folder->path, "/val/CLASS/");
  }
  return summary;
}

std::string NameOf(const std::string& method, const std::string& dataset,
                   int images_per_class) {
  return absl::StrCat(method, "/", dataset, "/ipc", images_per_class);
}

void Add(std::string name, std::string summary, std::string source,
         v1::JobSpec spec, bool paper, std::vector<TrajectoryPreset>* presets) {
  TrajectoryPreset& preset = presets->emplace_back();
  if (paper) preset.paper_name = name + "/paper";
  preset.info = {.name = std::move(name),
                 .summary = std::move(summary),
                 .source = std::move(source)};
  preset.spec = std::move(spec);
}

const std::vector<std::string>& QuickDatasets() {
  static const auto* const kNames =
      new std::vector<std::string>{"mnist", "fashion-mnist", "cifar-10"};
  return *kNames;
}

// CIFAR-10's nearest row for another data set and number of images.
PublishedRow QuickRow(const std::vector<PublishedRow>& rows,
                      const std::string& dataset, int images_per_class) {
  const TrajectoryRow* nearest = NearestRow(rows, "cifar-10", images_per_class);
  PublishedRow published;
  for (const PublishedRow& candidate : rows) {
    if (&candidate.row == nearest) published = candidate;
  }
  published.row.dataset = dataset;
  published.row.images_per_class = images_per_class;
  published.row.zca = published.row.zca && dataset == "cifar-10";
  return published;
}

void AddMethod(const Method& method, std::vector<TrajectoryPreset>* presets) {
  for (const PublishedRow& published : *method.rows) {
    const TrajectoryRow& row = published.row;
    std::string name = NameOf(method.name, row.dataset, row.images_per_class);
    if (!published.network.empty()) {
      absl::StrAppend(&name, "/", published.network);
    }
    if (published.repo) absl::StrAppend(&name, "/repo");
    Add(name, Summary(method.title, published),
        published.repo ? method.repo : method.paper,
        SpecOf(method.kind, published,
               {.smallest_segment = row.images_per_class}),
        !published.repo, presets);
  }
  for (const std::string& dataset : QuickDatasets()) {
    for (const int ipc : {1, 10}) {
      const PublishedRow row = QuickRow(*method.rows, dataset, ipc);
      v1::JobSpec spec = SpecOf(method.kind, row, {.smallest_segment = ipc});
      SetQuick(method.kind, &spec);
      Add(NameOf(method.name, dataset, ipc) + "/quick",
          Summary(method.title, row) + kQuickSummary,
          absl::StrCat(method.paper, "; shortened by this project"),
          std::move(spec), /*paper=*/false, presets);
    }
  }
}

v1::JobSpec SeqMatchSpec(const SeqMatchRow& published, bool ftd) {
  PublishedRow base{.row = published.row};
  const SubsetRow& first = published.subsets[0];
  base.row.start_epoch_max = first.interval_end - first.matched_epochs;
  if (ftd) {
    // FTD's for the same data sets.
    base.gsam_alpha = 1;
    base.pixel_ema = 0.999;
  }
  const int ipc = published.row.images_per_class;
  const std::vector<int> segments =
      SeqMatchSegments(ipc, static_cast<int>(published.subsets.size()));
  v1::JobSpec spec =
      SpecOf(ftd ? Kind::kFtd : Kind::kMtt, base,
             {.seqmatch = true, .smallest_segment = segments.back()});
  v1::SeqMatch& seqmatch = *spec.mutable_sequence()->mutable_seqmatch();
  for (size_t k = 0; k < segments.size(); ++k) {
    const SubsetRow& subset = published.subsets[k];
    const int own = segments[k] * Classes(published.row.dataset);
    seqmatch.add_segments(segments[k]);
    v1::Stage& stage = *seqmatch.add_stages();
    stage.set_student_steps(subset.student_steps);
    stage.set_matched_epochs(subset.matched_epochs);
    stage.set_start_epoch_max(subset.interval_end - subset.matched_epochs);
    // A later student draws as many from all subsets as the new one has.
    stage.set_batch(published.batch > 0 ? std::min(published.batch, own) : own);
    stage.set_step_size(static_cast<float>(subset.step_size));
  }
  return spec;
}

void AddSeqMatch(std::vector<TrajectoryPreset>* presets) {
  const std::string paper = "Du et al. 2023 (SeqMatch), table 4";
  for (const SeqMatchRow& published : SeqMatchRows()) {
    const TrajectoryRow& row = published.row;
    const PublishedRow plain{.row = row, .repo = published.repo};
    Add(absl::StrCat(NameOf("seqmatch", row.dataset, row.images_per_class),
                     published.repo ? "/repo" : ""),
        Summary("SeqMatch on MTT", plain),
        published.repo ? "Du et al. 2023 (SeqMatch), script of the released "
                         "code"
                       : paper,
        SeqMatchSpec(published, /*ftd=*/false), !published.repo, presets);
    const auto& subsets = ImageNetSubsets();
    if (std::find(subsets.begin(), subsets.end(), row.dataset) ==
        subsets.end()) {
      continue;
    }
    Add(NameOf("seqmatch-ftd", row.dataset, row.images_per_class),
        Summary("SeqMatch on FTD", plain),
        paper +
            ", with the experts and the moving average of Du et al. 2023 "
            "(FTD)",
        SeqMatchSpec(published, /*ftd=*/true), /*paper=*/true, presets);
  }
  for (const std::string& dataset : QuickDatasets()) {
    constexpr int kImages = 10;
    const PublishedRow row = QuickRow(MttRows(), dataset, kImages);
    v1::JobSpec spec = SpecOf(
        Kind::kMtt, row, {.seqmatch = true, .smallest_segment = kImages / 2});
    SetQuick(Kind::kMtt, &spec);
    Add(NameOf("seqmatch", dataset, kImages) + "/quick",
        Summary("SeqMatch on MTT", row) + kQuickSummary,
        absl::StrCat(paper, "; shortened by this project"), std::move(spec),
        /*paper=*/false, presets);
  }
}

// Later experts begin where training on the earlier segments has led.
void AddStages(int segments, int start_epoch_max, v1::Dasm* dasm) {
  for (int k = 0; k < segments; ++k) {
    v1::Stage& stage = *dasm->add_stages();
    if (k == 0) continue;
    stage.set_start_epoch_min(0);
    stage.set_start_epoch_max(start_epoch_max);
    stage.set_growth_iterations(0);
  }
}

void AddDasm(std::vector<TrajectoryPreset>* presets) {
  const std::string source =
      "Guo et al. 2024 (DATM), table 6; intervals of later segments: Du et "
      "al. 2023 (SeqMatch), table 4; DASM defaults of this project";
  struct Row {
    const char* dataset;
    std::vector<int> images_per_class;
    int later_start_epoch_max;  // SeqMatch's interval ends 20 and 10, minus M
  };
  const std::vector<Row> rows = {
      {"cifar-10", {10, 50, 100, 200, 500, 1000}, 18},
      {"cifar-100", {10, 50, 100}, 18},
      {"tiny-imagenet", {10, 50}, 8}};
  for (const Row& row : rows) {
    for (const int ipc : row.images_per_class) {
      const std::vector<int> segments = DasmSegments(ipc);
      PublishedRow published{.skip_threshold = 1};
      published.row = *NearestRow(DatmRows(), row.dataset, segments[0]);
      published.row.images_per_class = ipc;
      v1::JobSpec spec =
          SpecOf(Kind::kDatm, published,
                 {.dasm = true, .smallest_segment = segments.back()});
      AddStages(static_cast<int>(segments.size()), row.later_start_epoch_max,
                spec.mutable_sequence()->mutable_dasm());
      Add(NameOf("dasm-trajectory", row.dataset, ipc),
          Summary("DASM on DATM", published), source, std::move(spec),
          /*paper=*/true, presets);
    }
  }
  for (const std::string& dataset : QuickDatasets()) {
    constexpr int kImages = 10;
    const PublishedRow row = QuickRow(DatmRows(), dataset, kImages);
    v1::JobSpec spec = SpecOf(Kind::kDatm, row,
                              {.dasm = true, .smallest_segment = kImages / 2});
    SetQuick(Kind::kDatm, &spec);
    v1::Dasm& dasm = *spec.mutable_sequence()->mutable_dasm();
    dasm.set_discriminators(1);
    dasm.set_discriminator_steps(300);
    dasm.set_reference_steps(0);
    constexpr int kStartEpochs = 3;
    AddStages(2, kStartEpochs, &dasm);
    Add(NameOf("dasm-trajectory", dataset, kImages) + "/quick",
        Summary("DASM on DATM", row) + kQuickSummary,
        absl::StrCat(source, "; shortened by this project"), std::move(spec),
        /*paper=*/false, presets);
  }
}

}  // namespace

const std::vector<TrajectoryPreset>& TrajectoryPresets() {
  static const auto* const kPresets = [] {
    auto* presets = new std::vector<TrajectoryPreset>;
    AddDasm(presets);
    for (const Method& method : Methods()) AddMethod(method, presets);
    AddSeqMatch(presets);
    return presets;
  }();
  return *kPresets;
}

}  // namespace dasm
