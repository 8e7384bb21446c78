#include "server/service/worker_service.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/protocol.h"

namespace dasm {
namespace {

namespace w = worker::v1;

absl::Status CheckProtocol(int protocol) {
  if (protocol >= kOldestProtocol && protocol <= kProtocol) {
    return absl::OkStatus();
  }
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "the worker speaks protocol ", protocol,
          ", this coordinator protocols ", kOldestProtocol, " to ", kProtocol,
          ": upgrade the ", protocol > kProtocol ? "coordinator" : "worker")),
      "PROTOCOL_MISMATCH", "protocol");
}

WorkerReport FromProto(const w::SynchronizeRequest& request) {
  WorkerReport report;
  report.worker = request.worker();
  report.incarnation = request.incarnation();
  report.version = request.version();
  report.slots = request.slots();
  report.threads = request.threads();
  report.numerics_class = request.numerics_class();
  report.memory_bytes = request.memory_bytes();
  report.cache_bytes = request.cache_bytes();
  report.draining = request.draining();
  for (const w::RunningAttempt& attempt : request.running()) {
    report.running.push_back({attempt.task(), attempt.fence(), attempt.rank()});
  }
  report.applied_generation = request.applied_generation();
  return report;
}

void ToProto(const WorkOrder& order, w::Assignment* proto) {
  const ActionRecord& action = order.action;
  proto->set_task(action.key);
  proto->set_fence(action.fence);
  proto->set_attempt(action.attempts);
  proto->set_rank(order.rank);
  proto->set_ranks(static_cast<int>(action.workers.size()));
  proto->set_reduction(action.gang.reduction);
  proto->set_exchange(action.gang.exchange);
  proto->set_trainer_rank(action.gang.trainer_rank);
  proto->set_kind(action.kind);
  proto->set_parameters_json(action.parameters_json);
  for (const auto& [name, blob] : action.inputs) {
    w::TaskInput* input = proto->add_inputs();
    input->set_input(name);
    input->set_digest(blob.digest);
    input->set_size_bytes(blob.size_bytes);
  }
  if (!action.checkpoints.empty()) {
    const BlobRef& blob = action.checkpoints.front().blob;
    proto->set_checkpoint_digest(blob.digest);
    proto->set_checkpoint_size(blob.size_bytes);
  }
  proto->set_checkpoint_interval_seconds(action.checkpoint_interval);
  proto->set_checkpoint_steps(action.checkpoint_steps);
  proto->set_numerics_class(action.numerics_class);
  for (const SourceFileRecord& source : action.source_files) {
    w::SourceFile* file = proto->add_source_files();
    file->set_role(source.role);
    file->set_path(source.path);
    file->set_digest(source.digest);
  }
}

void ToProto(const Orders& orders, w::SynchronizeResponse* proto) {
  for (const WorkOrder& order : orders.assignments) {
    ToProto(order, proto->add_assignments());
  }
  for (const AttemptName& attempt : orders.release) {
    w::RunningAttempt* release = proto->add_release();
    release->set_task(attempt.key);
    release->set_fence(attempt.fence);
    release->set_rank(attempt.rank);
  }
  proto->set_generation(orders.generation);
  proto->set_draining(orders.draining);
  proto->set_lease_seconds(absl::ToDoubleSeconds(orders.lease));
  proto->set_call_again_seconds(absl::ToDoubleSeconds(orders.call_again));
}

// Owns itself until gRPC is done with the call. When the client goes away the
// manager's answer, at the end of the hold at the latest, still finishes it.
class HeldReactor final : public grpc::ServerUnaryReactor {
 private:
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerUnaryReactor* WorkerService::Synchronize(
    grpc::CallbackServerContext*, const w::SynchronizeRequest* request,
    w::SynchronizeResponse* response) {
  auto* reactor = new HeldReactor;
  const absl::Duration start = SystemClock()->Steady();
  auto finish = [reactor, response, start,
                 metrics = metrics_](absl::StatusOr<Orders> orders) {
    if (orders.ok()) ToProto(*orders, response);
    if (metrics != nullptr) {
      metrics->Record("WorkerService/Synchronize", orders.status().code(),
                      SystemClock()->Steady() - start);
    }
    reactor->Finish(ToGrpcStatus(orders.status()));
  };
  if (absl::Status status = CheckProtocol(request->protocol()); !status.ok()) {
    finish(std::move(status));
  } else {
    manager_->Synchronize(FromProto(*request), std::move(finish));
  }
  return reactor;
}

grpc::ServerUnaryReactor* WorkerService::JoinGang(
    grpc::CallbackServerContext*, const w::JoinGangRequest* request,
    w::JoinGangResponse* response) {
  auto* reactor = new HeldReactor;
  const absl::Duration start = SystemClock()->Steady();
  const w::GangMember& own = request->member();
  manager_->JoinGang(request->worker(), request->task(), request->fence(),
                     {.rank = own.rank(),
                      .endpoint = own.endpoint(),
                      .device_id = own.device_id(),
                      // What an agent that knows no threads leaves out.
                      .threads = own.threads() == 0 ? 1 : own.threads(),
                      .device = own.device()},
                     [reactor, response, start,
                      metrics = metrics_](absl::StatusOr<GangRoster> roster) {
                       if (roster.ok()) {
                         response->set_complete(roster->complete);
                         response->set_secret(std::move(roster->secret));
                         for (GangMember& member : roster->members) {
                           w::GangMember* proto = response->add_members();
                           proto->set_rank(member.rank);
                           proto->set_endpoint(std::move(member.endpoint));
                           proto->set_device_id(std::move(member.device_id));
                           proto->set_threads(member.threads);
                           proto->set_device(std::move(member.device));
                         }
                       }
                       if (metrics != nullptr) {
                         metrics->Record("WorkerService/JoinGang",
                                         roster.status().code(),
                                         SystemClock()->Steady() - start);
                       }
                       reactor->Finish(ToGrpcStatus(roster.status()));
                     });
  return reactor;
}

grpc::Status WorkerService::CommitResult(grpc::ServerContext*,
                                         const w::CommitResultRequest* request,
                                         w::CommitResultResponse*) {
  return rpc::Handle(
      metrics_, "WorkerService/CommitResult", [&]() -> absl::Status {
        std::map<std::string, OutputRecord> outputs;
        for (const w::TaskOutput& output : request->outputs()) {
          OutputRecord& record = outputs[output.output()];
          record.blob = {output.digest(), output.size_bytes()};
          record.chunk_digests.assign(output.chunk_digests().begin(),
                                      output.chunk_digests().end());
        }
        return manager_->CommitResult(
            request->worker(), request->task(), request->fence(),
            std::move(outputs), request->summary_json(), request->seconds());
      });
}

grpc::Status WorkerService::ReportFailure(
    grpc::ServerContext*, const w::ReportFailureRequest* request,
    w::ReportFailureResponse*) {
  return rpc::Handle(
      metrics_, "WorkerService/ReportFailure", [&]() -> absl::Status {
        FailureClass failure;
        if (!ParseFailureClass(request->failure().failure_class(), &failure)) {
          return InvalidField(
              "failure.failure_class",
              absl::StrCat("\"", request->failure().failure_class(),
                           "\" is not a class of the failure taxonomy"));
        }
        return manager_->ReportFailure(request->worker(), request->task(),
                                       request->fence(), failure,
                                       request->failure().message());
      });
}

grpc::Status WorkerService::CommitCheckpoint(
    grpc::ServerContext*, const w::CommitCheckpointRequest* request,
    w::CommitCheckpointResponse*) {
  return rpc::Handle(metrics_, "WorkerService/CommitCheckpoint", [&] {
    CheckpointRecord checkpoint;
    checkpoint.blob = {request->digest(), request->size_bytes()};
    checkpoint.step = request->step();
    checkpoint.seconds = request->seconds();
    return manager_->CommitCheckpoint(request->worker(), request->task(),
                                      request->fence(), std::move(checkpoint));
  });
}

grpc::Status WorkerService::ReportTelemetry(
    grpc::ServerContext*, const w::ReportTelemetryRequest* request,
    w::ReportTelemetryResponse*) {
  return rpc::Handle(metrics_, "WorkerService/ReportTelemetry", [&] {
    std::vector<TelemetryReport> reports;
    for (const w::TaskTelemetry& task : request->tasks()) {
      TelemetryReport& report = reports.emplace_back();
      report.action_key = task.task();
      report.fence = task.fence();
      report.has_progress = task.has_progress();
      report.progress.step = task.progress().step();
      report.progress.total_steps = task.progress().total_steps();
      report.progress.steps_per_second = task.progress().steps_per_second();
      report.progress.value = task.progress().value();
      report.progress.series = task.progress().series();
      for (const w::Point& point : task.points()) {
        MetricPointRecord& record = report.points.emplace_back();
        record.series = point.series();
        record.step = point.step();
        record.value = point.value();
        record.time = absl::FromUnixMicros(point.time_unix_micros());
      }
      for (const w::Line& line : task.lines()) {
        LogLineRecord& record = report.lines.emplace_back();
        record.rank = line.rank();
        record.sequence = line.sequence();
        record.severity = line.severity();
        record.text = line.text();
        record.time = absl::FromUnixMicros(line.time_unix_micros());
      }
      if (task.has_memory()) {
        const v1::RankMemory& memory = task.memory();
        report.peak = {memory.rank(),
                       {memory.host_bytes(), memory.device_bytes(),
                        memory.device_reserved_bytes()}};
      }
    }
    return manager_->ReportTelemetry(std::move(reports));
  });
}

}  // namespace dasm
