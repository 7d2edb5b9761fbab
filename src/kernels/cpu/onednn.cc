// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/onednn.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/parallel.h"

namespace nextscale::kernels::cpu {

void limit_onednn() {
  if (std::getenv("ONEDNN_MAX_CPU_ISA") == nullptr) {
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
  }
}

OneDnnThreads::OneDnnThreads(int num_threads) : saved_(omp_get_max_threads()) {
  omp_set_num_threads(num_threads);
}

OneDnnThreads::~OneDnnThreads() { omp_set_num_threads(saved_); }

void fail_onednn(const char* part, const dnnl::error& error) {
  if (error.status == dnnl_out_of_memory) {
    fail(ErrorCode::kMemory, "memory: oneDNN could not allocate for {}; use a smaller batch", part);
  }
  fail(ErrorCode::kInternal, "{}: oneDNN refused: {} (status {}); please report this", part,
       error.message, static_cast<int>(error.status));
}

bool is_unimplemented(const dnnl::error& error) { return error.status == dnnl_unimplemented; }

dnnl::memory::data_type onednn_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return dnnl::memory::data_type::f32;
    case DType::kBF16:
      return dnnl::memory::data_type::bf16;
    case DType::kI8:
      return dnnl::memory::data_type::s8;
    default:
      fail(ErrorCode::kUnsupported, "kernels: got element type {}, wanted f32, bf16 or i8",
           dtype_name(dtype));
  }
}

void set_handle(const dnnl::memory& memory, const void* data) {
  const dnnl_status_t status = dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(data));
  NEXTSCALE_ASSERT(status == dnnl_success);
}

void execute(const dnnl::primitive& primitive, const dnnl::stream& stream,
             std::span<const dnnl_exec_arg_t> arguments) {
  const dnnl_status_t status = dnnl_primitive_execute(
      primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data());
  NEXTSCALE_ASSERT(status == dnnl_success);
}

Tensor pack_weight(const dnnl::engine& engine, const ConstTensorView& source,
                   const dnnl::memory::dims& dims, dnnl::memory::format_tag plain,
                   const dnnl::memory::desc& packed) {
  Tensor result(DType::kU8, {static_cast<int64_t>(packed.get_size())});
  Tensor widened;  // oneDNN 2.6 cannot read f16 on a CPU
  ConstTensorView readable = source;
  if (source.dtype == DType::kF16) {
    widened = Tensor(DType::kF32, source.shape);
    copy_to_f32(source, {widened.as<float>(), static_cast<size_t>(source.shape.num_elements())});
    readable = std::as_const(widened).view();
  }
  dnnl::memory from({dims, onednn_type(readable.dtype), plain}, engine,
                    const_cast<void*>(readable.data));
  dnnl::memory to(packed, engine, result.as<uint8_t>());
  dnnl::stream stream(engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return result;
}

namespace {

using Unit = uint32_t;  // one f32, two bf16 or four i8 that follow one another in a row

constexpr int64_t kBlockUnits = 16;
constexpr int64_t kPanelOutputs = 64;

// True for oneDNN's usual layout where the processor has AVX-512: [out / 64][units][64] with zeros
// behind the last unit and the last output.
bool is_unit_panels(const dnnl_memory_desc_t& packed, size_t element_bytes) {
  const auto unit_elements = static_cast<dnnl_dim_t>(sizeof(Unit) / element_bytes);
  const dnnl_blocking_desc_t& blocks = packed.format_desc.blocking;
  const std::array<dnnl_dim_t, 3> sizes = {kBlockUnits, kPanelOutputs, unit_elements};
  const std::array<dnnl_dim_t, 3> dims = {0, 1, 0};
  const int count = unit_elements == 1 ? 2 : 3;
  return packed.ndims == 2 && packed.format_kind == dnnl_blocked && packed.offset0 == 0 &&
         packed.extra.flags == 0 && packed.dims[0] % unit_elements == 0 &&
         blocks.inner_nblks == count &&
         std::equal(sizes.begin(), sizes.begin() + count, blocks.inner_blks) &&
         std::equal(dims.begin(), dims.begin() + count, blocks.inner_idxs) &&
         blocks.strides[0] == kBlockUnits * kPanelOutputs * unit_elements &&
         blocks.strides[1] == packed.padded_dims[0] * kPanelOutputs;
}

// So much of a row is read at a time: whole stretches of memory, while what is written stays in the
// L1 cache.
constexpr int64_t kStepUnits = 4 * kBlockUnits;

// Units of `outputs` rows, which lie `row_units` apart, to `padded` rows of a panel.
void pack_step(const Unit* rows, int64_t row_units, int64_t outputs, int64_t units, int64_t padded,
               Unit* out) {
  // Rows lie apart, so that the processor does not foresee them.
  constexpr int64_t kRowsAhead = 8;
  for (int64_t output = 0; output < outputs; ++output) {
    for (int64_t unit = 0; unit < kStepUnits; unit += kBlockUnits) {
      __builtin_prefetch(rows + (output + kRowsAhead) * row_units + unit);
    }
    std::array<Unit, kStepUnits> line = {};
    std::memcpy(line.data(), rows + output * row_units, static_cast<size_t>(units) * sizeof(Unit));
    for (int64_t unit = 0; unit < padded; ++unit) {
      out[unit * kPanelOutputs + output] = line[static_cast<size_t>(unit)];
    }
  }
  for (int64_t unit = 0; unit < padded; ++unit) {
    std::fill(out + unit * kPanelOutputs + outputs, out + (unit + 1) * kPanelOutputs, Unit{0});
  }
}

Tensor pack_unit_panels(const Context& context, const ConstTensorView& source,
                        const dnnl::memory::desc& packed) {
  Tensor result(DType::kU8, {static_cast<int64_t>(packed.get_size())});
  const int64_t outputs = source.shape[0];
  const auto row_units = static_cast<int64_t>(static_cast<size_t>(source.shape[1]) *
                                              dtype_bytes(source.dtype) / sizeof(Unit));
  const int64_t padded_units = (row_units + kBlockUnits - 1) / kBlockUnits * kBlockUnits;
  const int64_t panels = (outputs + kPanelOutputs - 1) / kPanelOutputs;
  parallel_for(context.num_threads, panels, [&](int64_t panel, int) {
    const int64_t first = panel * kPanelOutputs;
    for (int64_t unit = 0; unit < row_units; unit += kStepUnits) {
      pack_step(source.as<Unit>() + first * row_units + unit, row_units,
                std::min(kPanelOutputs, outputs - first), std::min(kStepUnits, row_units - unit),
                std::min(kStepUnits, padded_units - unit),
                result.as<Unit>() + (panel * padded_units + unit) * kPanelOutputs);
    }
  });
  return result;
}

}  // namespace

Tensor pack_matrix(const Context& context, const dnnl::engine& engine,
                   const ConstTensorView& source, const dnnl::memory::desc& packed) {
  const bool keeps_type =
      source.dtype != DType::kF16 &&
      static_cast<dnnl_data_type_t>(onednn_type(source.dtype)) == packed.data.data_type;
  // oneDNN's own reordering moves element by element.
  if (keeps_type && is_unit_panels(packed.data, dtype_bytes(source.dtype))) {
    return pack_unit_panels(context, source, packed);
  }
  return pack_weight(engine, source, packed.dims(), dnnl::memory::format_tag::ba, packed);
}

}  // namespace nextscale::kernels::cpu
