#include "server/service/job_service.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/spec/preset.h"
#include "common/spec/task_parameters.h"
#include "server/job/state.h"
#include "server/manager/job_proto.h"
#include "server/planner/scaling_model.h"
#include "server/service/job_streams.h"
#include "server/service/page_size.h"

namespace dasm {
namespace {

constexpr int kMetricsPage = 10000;
constexpr char kDefaultProject[] = "default";

absl::StatusOr<std::string> ProjectOf(const std::string& parent) {
  if (parent.empty() || parent == "projects/default") return kDefaultProject;
  return InvalidField("parent", absl::StrCat("\"", parent,
                                             "\" is not projects/default, "
                                             "the only project there is"));
}

// "state=RUNNING OR state=QUEUED"
absl::StatusOr<std::vector<JobState>> ParseFilter(const std::string& filter) {
  std::vector<JobState> states;
  if (filter.empty()) return states;
  for (absl::string_view term : absl::StrSplit(filter, " OR ")) {
    term = absl::StripAsciiWhitespace(term);
    bool found = false;
    for (JobState state :
         {JobState::kQueued, JobState::kRunning, JobState::kSucceeded,
          JobState::kFailed, JobState::kCancelled}) {
      if (term == absl::StrCat("state=", std::string(Name(state)))) {
        states.push_back(state);
        found = true;
      }
    }
    if (!found) {
      return InvalidField(
          "filter",
          absl::StrCat("\"", term,
                       "\" is not state=S with S one of QUEUED, RUNNING, "
                       "SUCCEEDED, FAILED, CANCELLED; join several by OR"));
    }
  }
  return states;
}

void SetCost(const TaskCost& cost, v1::Cost* proto) {
  proto->set_flops(cost.flops);
  proto->set_memory_bytes(cost.memory_bytes);
  proto->set_artifact_bytes(cost.artifact_bytes);
  proto->set_reduced_bytes_per_step(cost.reduced_bytes_per_step);
  proto->set_steps(cost.steps);
}

void SetScaling(const TaskGraph& graph, v1::Scaling* proto) {
  proto->set_task("segment-1");
  proto->set_flops_per_second(kModelFlopsPerSecond);
  proto->set_advice(graph.scaling_advice);
  for (const ScalingRow& row : graph.scaling) {
    v1::ScalingRow* to = proto->add_rows();
    to->set_ranks(row.ranks);
    to->set_match_seconds(row.match_seconds);
    to->set_train_seconds(row.train_seconds);
    to->set_redundant_seconds(row.redundant_seconds);
    to->set_sent_bytes(row.sent_bytes);
    for (const ScalingRow::OnLink& on : row.links) {
      v1::ScalingLink* link = to->add_links();
      link->set_link(on.link);
      link->set_exchange_seconds(on.exchange_seconds);
      link->set_speedup(on.speedup);
      link->set_trainer_speedup(on.trainer_speedup);
      link->set_limit(on.limit);
    }
  }
}

// Where a page of metrics ended: task, series and step.
struct MetricsToken {
  std::string task;
  std::string series;
  int64_t step = INT64_MIN;
};

std::string Encode(const MetricsToken& token) {
  return absl::WebSafeBase64Escape(
      absl::StrCat("m1\n", token.task, "\n", token.series, "\n", token.step));
}

absl::StatusOr<MetricsToken> Decode(const std::string& text) {
  MetricsToken token;
  if (text.empty()) return token;
  std::string plain;
  std::vector<std::string> parts;
  if (absl::WebSafeBase64Unescape(text, &plain)) {
    parts = absl::StrSplit(plain, '\n');
  }
  if (parts.size() != 4 || parts[0] != "m1" ||
      !absl::SimpleAtoi(parts[3], &token.step)) {
    return InvalidField("page_token",
                        "is not one that this service gave; start without");
  }
  token.task = parts[1];
  token.series = parts[2];
  return token;
}

}  // namespace

grpc::Status JobService::CreateJob(grpc::ServerContext*,
                                   const v1::CreateJobRequest* request,
                                   v1::Job* response) {
  return rpc::Handle(metrics_, "JobService/CreateJob", [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const std::string project,
                          ProjectOf(request->parent()));
    DASM_ASSIGN_OR_RETURN(
        const JobRecord job,
        manager_->CreateJob(project, request->spec(), request->request_id(),
                            request->validate_only()));
    *response = ToProto(job);
    if (request->validate_only()) response->clear_name();
    return absl::OkStatus();
  });
}

grpc::Status JobService::ExplainJob(grpc::ServerContext*,
                                    const v1::ExplainJobRequest* request,
                                    v1::ExplainJobResponse* response) {
  return rpc::Handle(metrics_, "JobService/ExplainJob", [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const std::string project,
                          ProjectOf(request->parent()));
    DASM_ASSIGN_OR_RETURN(const Submission submission,
                          manager_->Explain(request->spec()));
    *response->mutable_expanded_spec() = submission.expanded.proto;
    for (const auto& [field, origin] : submission.expanded.origins) {
      (*response->mutable_origins())[field] = origin;
    }
    TaskCost total;
    for (const PlannedTask& planned : submission.graph.tasks) {
      v1::PlannedTask* task = response->add_tasks();
      task->set_id(planned.id);
      task->set_kind(std::string(KindOf(planned.parameters)));
      task->set_ranks(planned.ranks);
      std::set<std::string> parents;
      for (const auto& [name, input] : planned.inputs) {
        if (!input.task.empty()) parents.insert(input.task);
      }
      for (const std::string& parent : parents) task->add_parents(parent);
      SetCost(planned.cost, task->mutable_cost());
      total.flops += planned.cost.flops;
      total.artifact_bytes += planned.cost.artifact_bytes;
      total.steps += planned.cost.steps;
      total.memory_bytes =
          std::max(total.memory_bytes, planned.cost.memory_bytes);
      total.reduced_bytes_per_step = std::max(
          total.reduced_bytes_per_step, planned.cost.reduced_bytes_per_step);
    }
    SetCost(total, response->mutable_total());
    for (const std::string& warning : submission.graph.warnings) {
      response->add_warnings(warning);
    }
    if (!submission.graph.scaling.empty()) {
      SetScaling(submission.graph, response->mutable_scaling());
    }
    return absl::OkStatus();
  });
}

grpc::Status JobService::GetJob(grpc::ServerContext*,
                                const v1::GetJobRequest* request,
                                v1::Job* response) {
  return rpc::Handle(metrics_, "JobService/GetJob", [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const JobName name, JobName::Parse(request->name()));
    DASM_ASSIGN_OR_RETURN(
        const JobView view,
        manager_->GetJob(name, request->view() == v1::JOB_VIEW_FULL));
    *response = ToProto(view);
    return absl::OkStatus();
  });
}

grpc::Status JobService::ListJobs(grpc::ServerContext*,
                                  const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* response) {
  return rpc::Handle(metrics_, "JobService/ListJobs", [&]() -> absl::Status {
    JobFilter filter;
    DASM_ASSIGN_OR_RETURN(filter.project, ProjectOf(request->parent()));
    DASM_ASSIGN_OR_RETURN(filter.states, ParseFilter(request->filter()));
    DASM_ASSIGN_OR_RETURN(const int size, PageSize(request->page_size()));
    DASM_ASSIGN_OR_RETURN(
        const JobPage page,
        store_->ListJobs(filter, size, request->page_token()));
    for (const JobRecord& job : page.jobs) {
      *response->add_jobs() = ToProto(job);
    }
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  });
}

grpc::Status JobService::CancelJob(grpc::ServerContext*,
                                   const v1::CancelJobRequest* request,
                                   v1::Job* response) {
  return rpc::Handle(metrics_, "JobService/CancelJob", [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const JobName name, JobName::Parse(request->name()));
    DASM_ASSIGN_OR_RETURN(const JobRecord job,
                          manager_->CancelJob(name, request->message()));
    *response = ToProto(job);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::JobEvent>* JobService::WatchJob(
    grpc::CallbackServerContext*, const v1::WatchJobRequest* request) {
  auto stream = std::make_shared<StreamWriter<v1::JobEvent>>(
      pool_, metrics_, "JobService/WatchJob");
  StreamWriter<v1::JobEvent>* reactor = stream.get();
  const absl::StatusOr<JobName> name = JobName::Parse(request->name());
  if (!name.ok()) {
    stream->Start(nullptr);
    stream->End(name.status());
    return reactor;
  }
  auto listener = std::make_shared<WatchSource::Listener>(stream);
  // Before the first read, so that nothing falls between them.
  manager_->hub()->Listen(name->job, listener);
  stream->Start(std::make_unique<WatchSource>(
      store_, *name, request->resume_version(), std::move(listener)));
  return reactor;
}

grpc::Status JobService::GetJobReport(grpc::ServerContext*,
                                      const v1::GetJobReportRequest* request,
                                      v1::JobReport* response) {
  return rpc::Handle(
      metrics_, "JobService/GetJobReport", [&]() -> absl::Status {
        DASM_ASSIGN_OR_RETURN(const JobName name,
                              JobName::Parse(request->name()));
        DASM_ASSIGN_OR_RETURN(const JobView view,
                              manager_->GetJob(name, /*with_tasks=*/true));
        if (view.job.state != JobState::kSucceeded) {
          return WithReason(
              absl::FailedPreconditionError(absl::StrCat(
                  "job ", name.job, " is ", std::string(Name(view.job.state)),
                  "; only a job that has succeeded has a report")),
              "JOB_NOT_SUCCEEDED", "name");
        }
        response->set_report_json(view.job.report_json);
        response->set_manifest_json(view.job.manifest_json);
        for (const TaskView& task : view.tasks) {
          const bool imported = task.task.kind == ImportSetParameters::kKind;
          if (task.task.kind != AssembleParameters::kKind && !imported) {
            continue;
          }
          for (const auto& [name, output] : task.action.outputs) {
            v1::OutputBlob* file = response->add_files();
            file->set_output(imported && name == "set" ? "synthetic" : name);
            file->set_digest(output.blob.digest);
            file->set_size_bytes(output.blob.size_bytes);
          }
        }
        return absl::OkStatus();
      });
}

grpc::Status JobService::ListMetrics(grpc::ServerContext*,
                                     const v1::ListMetricsRequest* request,
                                     v1::ListMetricsResponse* response) {
  return rpc::Handle(metrics_, "JobService/ListMetrics", [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(const JobName name, JobName::Parse(request->name()));
    DASM_ASSIGN_OR_RETURN(const MetricsToken token,
                          Decode(request->page_token()));
    // Whether the job is there at all.
    DASM_ASSIGN_OR_RETURN(const JobRecord job,
                          store_->GetJob(name.project, name.job));
    DASM_ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks,
                          store_->GetTasks(job.id));
    std::sort(
        tasks.begin(), tasks.end(),
        [](const TaskRecord& a, const TaskRecord& b) { return a.id < b.id; });
    DASM_ASSIGN_OR_RETURN(const int size, PageSize(request->page_size(),
                                                   kMetricsPage, kMetricsPage));
    for (const TaskRecord& task : tasks) {
      if (task.action_key.empty() || task.id < token.task) continue;
      if (!request->task().empty() && task.id != request->task()) continue;
      const int left = size - response->points_size();
      TelemetryStore::PointCursor after;
      if (task.id == token.task) {
        after = {task.action_key, token.series, token.step};
      }
      // One more than is wanted tells whether there is another page.
      DASM_ASSIGN_OR_RETURN(
          const std::vector<MetricPointRecord> points,
          telemetry_->ListPoints({task.action_key}, request->series(), after,
                                 left + 1));
      for (const MetricPointRecord& point : points) {
        if (response->points_size() == size) {
          const v1::MetricPoint& last = response->points(size - 1);
          response->set_next_page_token(
              Encode({last.task(), last.series(), last.step()}));
          return absl::OkStatus();
        }
        v1::MetricPoint* proto = response->add_points();
        proto->set_task(task.id);
        proto->set_series(point.series);
        proto->set_step(point.step);
        *proto->mutable_time() = ToProto(point.time);
        proto->set_value(point.value);
      }
    }
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::LogLine>* JobService::ReadLogs(
    grpc::CallbackServerContext*, const v1::ReadLogsRequest* request) {
  auto stream = std::make_shared<StreamWriter<v1::LogLine>>(
      pool_, metrics_, "JobService/ReadLogs");
  StreamWriter<v1::LogLine>* reactor = stream.get();
  const absl::StatusOr<JobName> name = JobName::Parse(request->name());
  if (!name.ok()) {
    stream->Start(nullptr);
    stream->End(name.status());
    return reactor;
  }
  auto listener = std::make_shared<LogSource::Listener>(stream);
  if (request->follow()) manager_->hub()->Listen(name->job, listener);
  stream->Start(std::make_unique<LogSource>(
      store_, telemetry_, *name, request->task(), request->after_sequence(),
      request->follow(), std::move(listener)));
  return reactor;
}

grpc::Status JobService::ListPresets(grpc::ServerContext*,
                                     const v1::ListPresetsRequest* request,
                                     v1::ListPresetsResponse* response) {
  return rpc::Handle(metrics_, "JobService/ListPresets", [&]() -> absl::Status {
    for (const PresetInfo& info : AllPresets()) {
      v1::Preset* preset = response->add_presets();
      preset->set_name(info.name);
      preset->set_summary(info.summary);
      preset->set_source(info.source);
      DASM_ASSIGN_OR_RETURN(*preset->mutable_spec(), FindPreset(info.name));
    }
    return absl::OkStatus();
  });
}

}  // namespace dasm
