// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "cancel.h"
#include "command.h"
#include "engine/trace_recorder.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

struct TraceOptions {
  RunOptions run;
  std::string output;
  bool attention = false;
};

void trace(const TraceOptions& options) {
  // More than there are pictures: a trace is of one batch.
  constexpr int64_t kAllAtOnce = 1'000'000;
  Request request = options.run.checked_request();
  request.batch = kAllAtOnce;
  Engine engine(options.run.engine_options());
  TraceRecorder recorder(options.attention ? TraceRecorder::Attention::kYes
                                           : TraceRecorder::Attention::kNo);
  Events events;
  events.cancel = &cancel_on_signal();
  events.trace = &recorder;
  events.on_note = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
  engine.generate(request, events);
  recorder.write(options.output);
  fmt::print("{}\n", options.output);
}

}  // namespace

void add_trace(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("trace", "Write every intermediate of a run, for comparison");
  const auto options = std::make_shared<TraceOptions>();
  options->run.add_to(*command);
  command->add_option("-o,--output", options->output, "A .safetensors file")->required();
  command->add_flag("--attn", options->attention, "Also attention probabilities, keys and values");
  command->callback([options] { trace(*options); });
}

}  // namespace nextscale::cli
