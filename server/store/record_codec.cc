#include "server/store/record_codec.h"

#include <concepts>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

using nlohmann::json;

// Each record lists its fields once, for reading and writing alike: R is the
// record or its const form.
template <typename R, typename Record>
concept Is = std::same_as<std::remove_const_t<R>, Record>;

template <typename F, Is<FailureRecord> R>
void Fields(F&& field, R& r) {
  field("class", r.failure_class);
  field("message", r.message);
  field("task", r.task);
}

template <typename F, Is<BlobRef> R>
void Fields(F&& field, R& r) {
  field("digest", r.digest);
  field("size", r.size_bytes);
}

template <typename F, Is<OutputRecord> R>
void Fields(F&& field, R& r) {
  field("blob", r.blob);
  field("chunks", r.chunk_digests);
}

template <typename F, Is<InputSource> R>
void Fields(F&& field, R& r) {
  field("task", r.task);
  field("output", r.output);
  field("blob", r.blob);
}

template <typename F, Is<SourceFileRecord> R>
void Fields(F&& field, R& r) {
  field("role", r.role);
  field("path", r.path);
  field("digest", r.digest);
}

template <typename F, Is<CheckpointRecord> R>
void Fields(F&& field, R& r) {
  field("blob", r.blob);
  field("step", r.step);
  field("seconds", r.seconds);
  field("time", r.time);
}

template <typename F, Is<JobRecord> R>
void Fields(F&& field, R& r) {
  field("uid", r.uid);
  field("spec_digest", r.spec_digest);
  field("method", r.method);
  field("priority", r.priority);
  field("checkpoint_interval", r.checkpoint_interval);
  field("checkpoint_steps", r.checkpoint_steps);
  field("salt", r.salt);
  field("numerics_class", r.numerics_class);
  field("start_time", r.start_time);
  field("end_time", r.end_time);
  field("update_time", r.update_time);
  field("failure", r.failure);
  field("tasks_total", r.tasks_total);
  field("tasks_done", r.tasks_done);
}

template <typename F, Is<GangPolicy> R>
void Fields(F&& field, R& r) {
  field("min_ranks", r.min_ranks);
  field("regroup_wait", r.regroup_wait);
  field("reduction", r.reduction);
  field("exchange", r.exchange);
  field("trainer_rank", r.trainer_rank);
}

template <typename F, Is<MemoryRecord> R>
void Fields(F&& field, R& r) {
  field("fixed_bytes", r.fixed_bytes);
  field("bytes_per_image", r.bytes_per_image);
  field("total_bytes", r.total_bytes);
}

template <typename F, Is<PeakMemoryRecord> R>
void Fields(F&& field, R& r) {
  field("host_bytes", r.host_bytes);
  field("device_bytes", r.device_bytes);
  field("device_reserved_bytes", r.device_reserved_bytes);
}

template <typename F, Is<TaskRecord> R>
void Fields(F&& field, R& r) {
  field("kind", r.kind);
  field("parameters", r.parameters_json);
  field("inputs", r.inputs);
  field("source_files", r.source_files);
  field("ranks", r.ranks);
  field("gang", r.gang);
  field("memory", r.memory);
  field("replan_on_oom", r.replan_on_oom);
  field("replanned_micro_batch", r.replanned_micro_batch);
  field("cached", r.cached);
  field("failure", r.failure);
  field("start_time", r.start_time);
  field("end_time", r.end_time);
}

template <typename F, Is<ActionRecord> R>
void Fields(F&& field, R& r) {
  field("kind", r.kind);
  field("parameters", r.parameters_json);
  field("inputs", r.inputs);
  field("source_files", r.source_files);
  field("numerics_class", r.numerics_class);
  field("ranks", r.ranks);
  field("gang", r.gang);
  field("memory", r.memory);
  field("checkpoint_interval", r.checkpoint_interval);
  field("checkpoint_steps", r.checkpoint_steps);
  field("attempts", r.attempts);
  field("retries", r.retries);
  field("not_before", r.not_before);
  field("avoid_worker", r.avoid_worker);
  field("regroup_until", r.regroup_until);
  field("workers", r.workers);
  field("worker", r.worker);
  field("checkpoints", r.checkpoints);
  field("outputs", r.outputs);
  field("summary", r.summary_json);
  field("seconds", r.seconds);
  field("peaks", r.peaks);
  field("peaks_fence", r.peaks_fence);
  field("failure", r.failure);
  field("create_time", r.create_time);
  field("start_time", r.start_time);
  field("end_time", r.end_time);
  field("use_time", r.use_time);
  field("prune_time", r.prune_time);
}

template <typename T>
concept Scalar = std::same_as<T, std::string> || std::is_arithmetic_v<T>;
template <typename T>
concept Composite = std::is_class_v<T> && !Scalar<T>;

template <Scalar T>
json ToJson(const T& value) {
  return value;
}
json ToJson(absl::Time value) { return EncodeTime(value); }
template <typename T>
json ToJson(const std::vector<T>& values);
template <typename T>
json ToJson(const std::map<std::string, T>& values);
template <Composite R>
json ToJson(const R& record) {
  json object = json::object();
  Fields([&](const char* name,
             const auto& value) { object[name] = ToJson(value); },
         record);
  return object;
}
template <typename T>
json ToJson(const std::vector<T>& values) {
  json array = json::array();
  for (const T& value : values) array.push_back(ToJson(value));
  return array;
}
template <typename T>
json ToJson(const std::map<std::string, T>& values) {
  json object = json::object();
  for (const auto& [key, value] : values) object[key] = ToJson(value);
  return object;
}

template <Scalar T>
void FromJson(const json& from, T& value) {
  value = from.get<T>();
}
void FromJson(const json& from, absl::Time& value) {
  value = DecodeTime(from.get<int64_t>());
}
template <typename T>
void FromJson(const json& from, std::vector<T>& values);
template <typename T>
void FromJson(const json& from, std::map<std::string, T>& values);
template <Composite R>
void FromJson(const json& from, R& record) {
  Fields(
      [&](const char* name, auto& value) {
        if (auto it = from.find(name); it != from.end()) FromJson(*it, value);
      },
      record);
}
template <typename T>
void FromJson(const json& from, std::vector<T>& values) {
  values.clear();
  for (const json& item : from) FromJson(item, values.emplace_back());
}
template <typename T>
void FromJson(const json& from, std::map<std::string, T>& values) {
  values.clear();
  for (const auto& [key, item] : from.items()) FromJson(item, values[key]);
}

template <typename R>
std::string Encode(const R& record) {
  std::string bytes;
  json::to_cbor(ToJson(record), bytes);
  return bytes;
}

template <typename R>
absl::Status Decode(std::string_view body, const char* what, R* record) {
  try {
    const json object = json::from_cbor(body);
    if (!object.is_object()) {
      return absl::DataLossError(
          absl::StrCat("the stored ", what, " is not a map"));
    }
    FromJson(object, *record);
  } catch (const json::exception& error) {
    return absl::DataLossError(
        absl::StrCat("the stored ", what, " cannot be read: ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeBody(const JobRecord& record) { return Encode(record); }
std::string EncodeBody(const TaskRecord& record) { return Encode(record); }
std::string EncodeBody(const ActionRecord& record) { return Encode(record); }

absl::Status DecodeBody(std::string_view body, JobRecord* record) {
  return Decode(body, "job", record);
}
absl::Status DecodeBody(std::string_view body, TaskRecord* record) {
  return Decode(body, "task", record);
}
absl::Status DecodeBody(std::string_view body, ActionRecord* record) {
  return Decode(body, "action", record);
}

int64_t EncodeTime(absl::Time time) { return absl::ToUnixNanos(time); }

absl::Time DecodeTime(int64_t nanoseconds) {
  if (nanoseconds == std::numeric_limits<int64_t>::min()) {
    return absl::InfinitePast();
  }
  if (nanoseconds == std::numeric_limits<int64_t>::max()) {
    return absl::InfiniteFuture();
  }
  return absl::FromUnixNanos(nanoseconds);
}

}  // namespace dasm
