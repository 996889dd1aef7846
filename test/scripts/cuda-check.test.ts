import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { checkKernel, measured } from "../../scripts/cuda/budget.mjs";
import { ptxKernels, resourcesOf, sassKernels } from "../../scripts/cuda/kernels.mjs";
import { LIMITS, occupancy } from "../../scripts/cuda/occupancy.mjs";
import { chosenArchitectures, findToolkit } from "../../scripts/cuda/toolkit.mjs";
import { shortName } from "../../scripts/lib/kernel-names.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const LOG = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1aI1P' for 'sm_80'
ptxas info    : Function properties for _Z1aI1P
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem, 368 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1b1P' for 'sm_80'
ptxas info    : Function properties for _Z1b1P
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 376 bytes cmem[0]
`;
const PTX = `.version 9.0
.target sm_80
.visible .entry _Z1aI1P(
	.param .align 8 .b8 _Z1aI1P_param_0[16]
)
.maxntid 128
.minnctapersm 2
{
	cp.async.cg.shared.global [%r10], [%rd7], 16, %r11;
	mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1, %r2}, {%r3}, {%r4}, {%r1, %r2};
}
.visible .entry _Z1b1P(
	.param .align 8 .b8 _Z1b1P_param_0[16]
)
.maxntid 64
{
	dp4a.s32.s32 %r1, %r2, %r3, %r1;
	ld.global.nc.L1::no_allocate.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];
}
`;
const SASS = `//--------------------- .text._Z1aI1P              --------------------------
        /*00c0*/                   LDGSTS.E.BYPASS.128 [0x200], [R2.64] ;
        /*0180*/                   IMMA.16832.S8.S8 R8, R8.ROW, R16.COL, RZ ;
//--------------------- .text._Z1b1P              --------------------------
        /*00c0*/                   IDP.4A.S8.S8 R1, R2, R3, R1 ;
`;

const kernel = {
  name: "a",
  architecture: 80,
  registers: 40,
  shared: 512,
  stack: 0,
  spills: 0,
  threads: 128,
  ptx: ptxKernels(PTX).get("_Z1aI1P")!.body,
  sass: sassKernels(SASS).get("_Z1aI1P")!,
};
const budget = {
  registers: 40,
  shared: 512,
  dynamic_shared: 1024,
  stack: 0,
  blocks: 8,
  instructions: ["mma s8", "cp.async 16"],
};

describe("what nvcc makes of a kernel", () => {
  it("is read from ptxas, kernel by kernel", () => {
    const found = resourcesOf(LOG);
    expect(found.get("_Z1aI1P")).toEqual({ registers: 40, shared: 512, stack: 0, spills: 0 });
    expect(found.get("_Z1b1P")).toEqual({ registers: 255, shared: 0, stack: 24, spills: 36 });
  });

  it("is read from PTX with the launch bounds", () => {
    const found = ptxKernels(PTX);
    expect([...found.keys()]).toEqual(["_Z1aI1P", "_Z1b1P"]);
    expect(found.get("_Z1aI1P")).toMatchObject({ threads: 128, blocks: 2 });
    expect(found.get("_Z1aI1P")!.body).not.toContain("dp4a");
    expect(found.get("_Z1b1P")!.body).toContain("dp4a");
  });

  it("is named shortly", () => {
    expect(shortName("void lowrank::cuda::(anonymous namespace)::gemm<64, true>(lowrank::cuda::Gemm)")).toBe(
      "gemm<64, true>",
    );
    expect(shortName("lowrank::cuda::decode(Params)")).toBe("decode");
    expect(shortName("void lowrank::cuda::rows<(lowrank::KvFormat)1>(lowrank::device::P)")).toBe(
      "rows<(KvFormat)1>",
    );
  });
});

describe("a kernel's budget", () => {
  it("holds what was measured", () => {
    expect(checkKernel(kernel, budget)).toEqual([]);
    expect(measured([kernel], { a: { ...budget, registers: 1 } })).toEqual({ a: { ...budget, blocks: 12 } });
  });

  it.each([
    ["registers", { registers: 41 }, /at most 40 registers, received 41/],
    ["static shared memory", { shared: 513 }, /at most 512 bytes of static shared memory, received 513/],
    ["stack", { stack: 8 }, /at most 0 bytes of stack, received 8/],
    ["spills", { spills: 4 }, /at most 0 bytes of spills, received 4/],
    ["shared memory in all", { shared: 166_000 }, /bytes of shared memory in a block/],
    ["PTX", { ptx: kernel.ptx.replaceAll("mma.sync", "mul.lo") }, /Expected mma s8 in its PTX, found none/],
    ["machine code", { sass: kernel.sass.replaceAll("LDGSTS", "LDG") }, /Expected cp\.async 16 in its SASS/],
  ])("notices a regression of its %s", (_, change, message) => {
    const failures = checkKernel({ ...kernel, ...change }, budget);
    expect(failures.some((failure) => message.test(failure))).toBe(true);
  });

  it("notices fewer blocks at once, and a kernel without an entry", () => {
    expect(checkKernel(kernel, { ...budget, blocks: 13 })).toEqual([
      "a on sm_80: Expected 13 blocks or more at once, received 12.",
    ]);
    expect(checkKernel(kernel, undefined)[0]).toContain("Expected an entry");
    expect(checkKernel(kernel, { ...budget, instructions: ["mma s4"] })[0]).toContain("received mma s4");
  });

  it("looks for the instructions that it names", () => {
    const other = { ...kernel, ptx: ptxKernels(PTX).get("_Z1b1P")!.body, sass: null };
    expect(checkKernel(other, { ...budget, instructions: ["dp4a", "load 16"] })).toEqual([]);
  });
});

const toolkit = findToolkit();
const header = "/usr/local/cuda/include/cuda_occupancy.h";

describe("occupancy", () => {
  it.skipIf(!existsSync(header))("is what cuda_occupancy.h computes", () => {
    const cases = [80, 86, 89, 90, 100, 120].flatMap((architecture) =>
      [32, 64, 128, 256, 384, 512, 1024].flatMap((threads) =>
        [16, 32, 40, 64, 96, 128, 168, 255].flatMap((registers) =>
          [0, 1, 5000, 16_384, 33_000, 49_152, 66_000, 99 * 1024, 163 * 1024]
            .filter((shared) => shared <= LIMITS[architecture as 80].sharedOfBlock)
            .filter(() => threads * registers <= 65536)
            .map((shared) => ({ architecture, threads, registers, shared })),
        ),
      ),
    );
    const folder = mkdtempSync(join(tmpdir(), "lowrank-occupancy-"));
    try {
      const source = join(folder, "occupancy.cpp");
      const rows = cases.map(({ architecture, threads, registers, shared }) => {
        const { threads: of, blocks, shared: memory, sharedOfBlock } = LIMITS[architecture as 80];
        return `{${Math.floor(architecture / 10)}, ${architecture % 10}, ${of}, ${blocks}, ${memory}, ${sharedOfBlock}, ${threads}, ${registers}, ${shared}}`;
      });
      writeFileSync(
        source,
        `#include <cstdio>
#include <initializer_list>
#include "${header}"
struct Case { int major, minor, of, blocks, memory, optin, threads, registers, shared; };
int main() {
  for (const Case& c : {${rows.map((row) => `Case${row}`).join(",\n")}}) {
    cudaOccDeviceProp p;
    p.computeMajor = c.major; p.computeMinor = c.minor; p.maxThreadsPerBlock = 1024; p.maxThreadsPerMultiprocessor = c.of;
    p.regsPerBlock = 65536; p.regsPerMultiprocessor = 65536; p.warpSize = 32; p.sharedMemPerBlock = 49152;
    p.sharedMemPerMultiprocessor = c.memory; p.numSms = 1; p.sharedMemPerBlockOptin = c.optin; p.reservedSharedMemPerBlock = 1024;
    cudaOccFuncAttributes a;
    a.maxThreadsPerBlock = 1024; a.numRegs = c.registers; a.sharedSizeBytes = 0; a.partitionedGCConfig = PARTITIONED_GC_OFF;
    a.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN; a.maxDynamicSharedSizeBytes = c.optin; a.numBlockBarriers = 1;
    cudaOccDeviceState s;
    cudaOccResult r;
    const int status = cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &a, &s, c.threads, c.shared);
    std::printf("%d\\n", status == 0 ? r.activeBlocksPerMultiprocessor : -1);
  }
}
`,
      );
      const binary = join(folder, "occupancy");
      const build = spawnSync("c++", ["-w", "-o", binary, source], { encoding: "utf8" });
      expect(build.stderr).toBe("");
      const theirs = spawnSync(binary, { encoding: "utf8" }).stdout.trim().split("\n").map(Number);
      expect(theirs.length).toBe(cases.length);
      cases.forEach((one, i) =>
        expect({ ...one, blocks: occupancy(one.architecture, one).blocks }).toEqual({
          ...one,
          blocks: theirs[i],
        }),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a machine without a CUDA toolkit", () => {
  it.each(["cuda-build", "cuda-check"])("makes %s say so and end with status 3", (name) => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, `scripts/${name}.mjs`)], {
      encoding: "utf8",
      env: { ...process.env, LOWRANK_NVCC: "/nowhere/nvcc" },
    });
    expect(status).toBe(3);
    expect(stderr).toMatch(/Expected nvcc .*there is none\. Install the CUDA toolkit/);
  });

  it.skipIf(toolkit === null)("is told from one whose toolkit lacks an architecture", () => {
    const old = { ...toolkit!, version: "12.0", architectures: new Set([80, 90]) };
    expect(chosenArchitectures("", old)).toEqual([80, 90]);
    expect(chosenArchitectures("90,80", old)).toEqual([80, 90]);
    expect(() => chosenArchitectures("120", old)).toThrow(/CUDA 12\.0 can build for, received 120/);
    expect(() => chosenArchitectures("81", old)).toThrow(/Expected some of 80, 86/);
  });
});
