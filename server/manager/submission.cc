#include "server/manager/submission.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/manager/score_file.h"

namespace dasm {
namespace {

std::string Serialize(const v1::JobSpec& spec) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  // Map entries in a fixed order, so that equal specs have equal digests.
  coded.SetSerializationDeterministic(true);
  spec.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

std::vector<ResolvedDataset::File> Files(
    const std::vector<SourceFile>& sources) {
  std::vector<ResolvedDataset::File> files;
  for (const SourceFile& source : sources) {
    files.push_back({source.role, source.path, source.digest});
  }
  return files;
}

}  // namespace

absl::StatusOr<Submission> PrepareSubmission(const v1::JobSpec& given,
                                             const DataRoots& roots,
                                             BlobStore* blobs) {
  Submission submission;
  DASM_ASSIGN_OR_RETURN(submission.expanded, ExpandSpec(given));
  const JobSpec& spec = submission.expanded.spec;
  DASM_ASSIGN_OR_RETURN(const DatasetSource source,
                        ProbeDataset(spec.dataset, roots));
  DASM_RETURN_IF_ERROR(
      ValidateAgainstDataset(spec, {.classes = source.classes,
                                    .channels = source.channels,
                                    .height = source.height,
                                    .width = source.width,
                                    .train_images = source.train_images,
                                    .test_images = source.test_images,
                                    .smallest_class = source.smallest_class}));
  ResolvedDataset dataset = {.classes = source.classes,
                             .channels = source.channels,
                             .height = source.height,
                             .width = source.width,
                             .train_images = source.train_images,
                             .test_images = source.test_images,
                             .files = Files(source.files)};
  if (spec.trajectory.has_value() && !spec.experts.score_file.empty()) {
    DASM_ASSIGN_OR_RETURN(const SourceFile scores,
                          ProbeScoreFile(spec.experts.score_file, source,
                                         spec.dataset.validation, roots));
    dataset.score_files = Files({scores});
  }
  int64_t set_bytes = 0;
  if (spec.synthetic_set.has_value()) {
    const SyntheticSetSpec& set = *spec.synthetic_set;
    if (set.digest.empty()) {
      DASM_ASSIGN_OR_RETURN(const SetSource set_source,
                            ProbeSyntheticSet(set, roots));
      dataset.set_files = Files(set_source.files);
      dataset.set_images = set_source.images;
    } else {
      const absl::StatusOr<int64_t> size = blobs->Size(set.digest);
      if (!size.ok()) {
        return WithReason(absl::FailedPreconditionError(absl::StrCat(
                              "this service holds no blob ", set.digest,
                              "; give the digest that the report of a finished "
                              "job names")),
                          "SET_NOT_FOUND", "synthetic_set.digest");
      }
      set_bytes = *size;
    }
  }
  DASM_ASSIGN_OR_RETURN(submission.graph, PlanJob(spec, dataset));
  for (PlannedTask& task : submission.graph.tasks) {
    for (auto& [name, input] : task.inputs) {
      if (input.task.empty() && input.size_bytes == 0) {
        input.size_bytes = set_bytes;
      }
    }
  }
  return submission;
}

NewJob MakeJob(const Submission& submission, const v1::JobSpec& given,
               const std::string& project, const std::string& request_id,
               absl::Time now) {
  const JobSpec& spec = submission.expanded.spec;
  NewJob result;
  JobRecord& job = result.job;
  job.id = NewJobId();
  job.project = project;
  job.uid = NewUuid();
  job.request_id = request_id;
  job.spec = Serialize(given);
  job.spec_digest = Sha256(job.spec);
  job.expanded_spec = Serialize(submission.expanded.proto);
  job.method = spec.Method();
  job.priority = spec.resources.priority;
  job.checkpoint_interval = spec.resources.checkpoint_interval;
  job.checkpoint_steps = spec.resources.checkpoint_steps;
  job.salt = spec.salt;
  job.create_time = now;
  job.update_time = now;
  job.tasks_total = static_cast<int>(submission.graph.tasks.size());
  for (const PlannedTask& planned : submission.graph.tasks) {
    TaskRecord task;
    task.job = job.id;
    task.id = planned.id;
    task.kind = std::string(KindOf(planned.parameters));
    task.parameters_json = ToCanonicalJson(planned.parameters);
    for (const auto& [name, input] : planned.inputs) {
      task.inputs[name] = {
          input.task, input.output, {input.digest, input.size_bytes}};
    }
    for (const ResolvedDataset::File& file : planned.source_files) {
      task.source_files.push_back({file.role, file.path, file.digest});
    }
    task.ranks = planned.ranks;
    if (planned.ranks > 1) {
      task.gang.min_ranks = spec.resources.min_ranks;
      task.gang.regroup_wait = spec.resources.regroup_wait;
      task.gang.trainer_rank = spec.resources.trainer_rank;
    }
    if (spec.execution.reduction == ReductionOrder::kFast) {
      task.gang.reduction = "fast";
    }
    if (spec.resources.exchange == Exchange::kDeferred) {
      task.gang.exchange = "deferred";
    }
    task.memory = {planned.cost.fixed_memory_bytes,
                   planned.cost.memory_bytes_per_image,
                   planned.cost.memory_bytes};
    task.replan_on_oom = spec.resources.on_oom == OnOom::kReplan;
    result.tasks.push_back(std::move(task));
  }
  return result;
}

std::string SpecDigest(const v1::JobSpec& spec) {
  return Sha256(Serialize(spec));
}

}  // namespace dasm
