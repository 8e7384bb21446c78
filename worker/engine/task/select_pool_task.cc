#include "worker/engine/task/select_pool_task.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/pool/pool_diagnostics.h"
#include "worker/engine/pool/select_pool.h"
#include "worker/engine/task/pool_file.h"
#include "worker/engine/task/scores_file.h"
#include "worker/engine/task/tile_sources.h"

namespace dasm {
namespace {

// A mapped scores blob and its probabilities.
nlohmann::json Summary(const Pool& pool, const PoolDiagnostics& diagnostics) {
  nlohmann::json summary = {
      {"rule", RuleName(pool.rule)},
      {"learned_fraction", diagnostics.learned_fraction},
      {"learned_fraction_by_class", diagnostics.learned_fraction_by_class},
      {"pool_size_by_class", diagnostics.pool_size_by_class},
      {"newly_learned", diagnostics.newly_learned},
      {"forgotten", diagnostics.forgotten},
      {"never_learned", diagnostics.never_learned}};
  if (diagnostics.jaccard_previous) {
    summary["jaccard_previous"] = *diagnostics.jaccard_previous;
  }
  if (diagnostics.jaccard_discriminators) {
    summary["jaccard_discriminators"] = *diagnostics.jaccard_discriminators;
  }
  if (diagnostics.learned_fraction_by_decile) {
    summary["learned_fraction_by_decile"] =
        *diagnostics.learned_fraction_by_decile;
  }
  if (diagnostics.learned_fraction_tile_sources) {
    summary["learned_fraction_tile_sources"] =
        *diagnostics.learned_fraction_tile_sources;
  }
  if (diagnostics.learned_fraction_other_images) {
    summary["learned_fraction_other_images"] =
        *diagnostics.learned_fraction_other_images;
  }
  return summary;
}

}  // namespace

absl::StatusOr<TaskOutcome> SelectPoolTask(
    const SelectPoolParameters& parameters, const TaskContext& context) {
  const TaskFiles& files = context.files;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(files));
  std::vector<ScoresFile> scores;
  for (const std::string& path : NumberedInputs(files, "scores")) {
    DASM_ASSIGN_OR_RETURN(ScoresFile one, LoadScores(path, *data));
    scores.push_back(std::move(one));
  }
  if (scores.empty()) return InputPath(files, "scores.1").status();
  ScoredSamples samples{data->train().labels(), data->classes(), {}};
  for (const ScoresFile& one : scores) {
    samples.probabilities.push_back(one.probabilities);
  }
  DASM_ASSIGN_OR_RETURN(const SampleStatistics statistics,
                        ComputeStatistics(samples));
  const Pool pool =
      SelectPool(parameters, samples.labels, samples.classes, statistics);

  PoolReferences references;
  PoolFile previous_file;
  if (HasInput(files, "previous_pool")) {
    DASM_ASSIGN_OR_RETURN(const std::string path,
                          InputPath(files, "previous_pool"));
    DASM_ASSIGN_OR_RETURN(previous_file, LoadPool(path, samples.size()));
    references.previous =
        PreviousPool{previous_file.members, previous_file.learned};
  }
  std::vector<double> reference_el2n;
  if (HasInput(files, "reference_scores")) {
    DASM_ASSIGN_OR_RETURN(const std::string path,
                          InputPath(files, "reference_scores"));
    DASM_ASSIGN_OR_RETURN(const ScoresFile reference, LoadScores(path, *data));
    DASM_ASSIGN_OR_RETURN(
        const SampleStatistics of_reference,
        ComputeStatistics(
            {samples.labels, samples.classes, {reference.probabilities}}));
    reference_el2n = of_reference.el2n;
    references.el2n = reference_el2n;
  }
  std::vector<uint8_t> is_source;
  if (!NumberedInputs(files, "segment").empty()) {
    DASM_ASSIGN_OR_RETURN(const absl::flat_hash_set<int64_t> sources,
                          TileSources(files, *data));
    is_source.resize(samples.size());
    for (int64_t i : sources) is_source[i] = 1;
    references.tile_sources = is_source;
  }
  DASM_ASSIGN_OR_RETURN(
      const PoolDiagnostics diagnostics,
      DiagnosePool(parameters, samples, statistics, pool, references));
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(WritePool(pool, statistics, &outputs));
  return outputs.Finish(Summary(pool, diagnostics));
}

}  // namespace dasm
