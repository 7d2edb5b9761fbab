// SPDX-License-Identifier: Apache-2.0
#include "golden/infinity_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/trace_recorder.h"
#include "models/infinity/convert.h"
#include "support/temporary_folder.h"

namespace nextscale::golden {
namespace {

// Absolute tolerances in f32, by how the name starts (golden/infinity/README.md).
constexpr std::array<std::pair<std::string_view, double>, 6> kTolerances{{{"logits.", 5e-4},
                                                                          {"codes_summed.", 1e-5},
                                                                          {"attn.", 1e-4},
                                                                          {"debug.hidden.", 3e-4},
                                                                          {"debug.", 1e-4},
                                                                          {"image", 1e-4}}};
// With reduced precision and forced bits: of the logits of one scale, and of all bits.
constexpr double kForcedRelativeRms = 0.08;
constexpr double kForcedFlips = 0.02;

double tolerance_of(const std::string& name) {
  const auto* found = std::ranges::find_if(
      kTolerances, [&](const auto& each) { return name.starts_with(each.first); });
  EXPECT_NE(found, kTolerances.end()) << "no tolerance is known for " << name;
  return found == kTolerances.end() ? 0 : found->second;
}

size_t num_scales(const GoldenCase& golden) {
  return golden.config.at("schedule").at("scale_schedule").size();
}

std::filesystem::path file_of(const GoldenCase& golden, const char* which) {
  return golden.folder / golden.config.at("files").at(which).get<std::string>();
}

// "1:1.333@5scales"
std::string size_of(const GoldenCase& golden) {
  return fmt::format("1:{}@{}scales",
                     golden.config.at("schedule").at("h_div_w_template").get<double>(),
                     num_scales(golden));
}

void convert_case(const GoldenCase& golden, const std::filesystem::path& output) {
  convert_infinity({.transformer = file_of(golden, "transformer"),
                    .vae = file_of(golden, "vae"),
                    .output = output,
                    .size = size_of(golden),
                    .dtype = DType::kF32});
}

Request request_of(const GoldenCase& golden) {
  const auto& sampling = golden.config.at("sampling");
  Request request;
  request.text_features = file_of(golden, "expected").string();  // they lie beside the results
  request.cfg = sampling.at("cfg_list").get<std::vector<float>>();
  request.tau = sampling.at("tau_list").get<std::vector<float>>();
  request.cfg_layers = sampling.at("cfg_insertion_layer").get<std::vector<int64_t>>();
  request.greedy = true;
  request.batch = golden.config.at("inputs").at("batch").get<int64_t>();
  return request;
}

// What a trace calls a tensor of the expected file; nothing for inputs and for sums that the engine
// does not form by themselves.
std::optional<std::string> traced_name(const std::string& name, size_t scales) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kNames{
      {{"codes_summed.", "f_hat."},
       {"attn.k.", "k."},
       {"attn.v.", "v."},
       {"debug.hidden.", "block."},
       {"debug.word_in.", "word_in."},
       {"debug.sos", "text_pooled"},
       {"debug.ca_kv", "text_source"}}};
  constexpr std::string_view kProbabilities = "attn.probs.";
  if (name.find("text_features") != std::string::npos || name == "debug.gss" ||
      name == "image_u8") {
    return std::nullopt;
  }
  if (name.starts_with(kProbabilities)) {
    return fmt::format("attn.{}.{}", scales - 1, name.substr(kProbabilities.size()));
  }
  for (const auto& [golden, traced] : kNames) {
    if (name.starts_with(golden)) return std::string(traced) + name.substr(golden.size());
  }
  return name;
}

std::vector<int32_t> bits_of(const SafetensorsFile& expected, const std::string& name) {
  const ConstTensorView bits = expected.view(name);
  return {bits.as<uint8_t>(), bits.as<uint8_t>() + bits.shape.num_elements()};
}

void compare(const std::string& name, const Tensor& got, const SafetensorsFile& expected) {
  const auto count = static_cast<size_t>(got.shape().num_elements());
  ASSERT_EQ(got.shape().num_elements(), expected.find(name)->shape.num_elements()) << name;
  if (name.starts_with("bits.")) {
    EXPECT_TRUE(std::ranges::equal(std::span(got.as<int32_t>(), count), bits_of(expected, name)))
        << name;
    return;
  }
  expect_close(name, {got.as<float>(), count}, expected_values(expected, name), tolerance_of(name));
}

// 8-bit pictures may differ by one step.
void compare_pixels(const std::vector<Image>& images, const SafetensorsFile& expected) {
  const ConstTensorView want = expected.view("image_u8");
  const uint8_t* pixel = want.as<uint8_t>();
  int worst = 0;
  int64_t count = 0;
  for (const Image& image : images) {
    for (const uint8_t got : image.rgb) {
      ASSERT_LT(count++, want.shape.num_elements());
      worst = std::max(worst, std::abs(static_cast<int>(got) - static_cast<int>(*pixel++)));
    }
  }
  EXPECT_EQ(count, want.shape.num_elements());
  EXPECT_LE(worst, 1);
}

}  // namespace

void check_infinity_f32(const GoldenCase& golden, Backend backend) {
  const TemporaryFolder folder;
  convert_case(golden, folder.path() / "model");
  Engine engine(
      {.model = (folder.path() / "model").string(), .dtype = Precision::kF32, .backend = backend});
  TraceRecorder recorder(TraceRecorder::Attention::kYes);
  std::vector<Image> images;
  Events events{.trace = &recorder};
  events.on_image = [&](GeneratedImage image) { images.push_back(std::move(image.image)); };
  engine.generate(request_of(golden), events);
  const SafetensorsFile expected(file_of(golden, "expected"));
  int compared = 0;
  for (const TensorInfo& want : expected.tensors()) {
    const auto name = traced_name(want.name, num_scales(golden));
    if (!name) continue;
    const auto got = recorder.tensors().find(*name);
    ASSERT_NE(got, recorder.tensors().end()) << want.name << " was not recorded as " << *name;
    compare(want.name, got->second, expected);
    ++compared;
  }
  EXPECT_GE(compared, static_cast<int>(num_scales(golden)));
  compare_pixels(images, expected);
}

namespace {

struct ScaleErrors {
  double relative_rms = 0;
  int64_t flips = 0;
  int64_t bits = 0;
};

// Pairs of logits; a bit flips where the larger of the two differs.
ScaleErrors compare_scale(std::span<const float> got, std::span<const float> want) {
  double errors = 0;
  double squares = 0;
  ScaleErrors result;
  for (size_t at = 0; at < want.size(); at += 2) {
    for (const size_t each : {at, at + 1}) {
      const double wanted = want[each];
      const double error = static_cast<double>(got[each]) - wanted;
      errors += error * error;
      squares += wanted * wanted;
    }
    result.flips += (got[at + 1] > got[at]) != (want[at + 1] > want[at]);
    ++result.bits;
  }
  result.relative_rms = std::sqrt(errors / squares);
  return result;
}

}  // namespace

void check_infinity_forced(const GoldenCase& golden, Precision precision) {
  const TemporaryFolder folder;
  convert_case(golden, folder.path() / "model");
  const SafetensorsFile expected(file_of(golden, "expected"));
  TraceRecorder recorder(TraceRecorder::Attention::kNo);
  Events events{.trace = &recorder};
  for (size_t scale = 0; scale < num_scales(golden); ++scale) {
    events.forced_labels.push_back(bits_of(expected, fmt::format("bits.{}", scale)));
  }
  Engine engine({.model = (folder.path() / "model").string(), .dtype = precision});
  engine.generate(request_of(golden), events);
  int64_t flips = 0;
  int64_t bits = 0;
  for (size_t scale = 0; scale < num_scales(golden); ++scale) {
    const std::string name = fmt::format("logits.{}", scale);
    const Tensor& got = recorder.tensors().at(name);
    const std::vector<float> want = expected_values(expected, name);
    ASSERT_EQ(static_cast<size_t>(got.shape().num_elements()), want.size());
    const ScaleErrors errors = compare_scale({got.as<float>(), want.size()}, want);
    std::printf("  scale %zu: relative rms of logits %.4f, %ld of %ld bits differ\n", scale,
                errors.relative_rms, errors.flips, errors.bits);
    EXPECT_LE(errors.relative_rms, kForcedRelativeRms) << "scale " << scale;
    flips += errors.flips;
    bits += errors.bits;
  }
  EXPECT_LE(static_cast<double>(flips), kForcedFlips * static_cast<double>(bits));
}

}  // namespace nextscale::golden
