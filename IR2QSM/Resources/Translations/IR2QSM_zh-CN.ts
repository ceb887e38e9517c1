<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN" sourcelanguage="en">
<context>
    <name>IR2QSM</name>
    <message>
        <source>&amp;Preset:</source>
        <translation>预设(&amp;P)：</translation>
    </message>
    <message>
        <source>Best takes the learned method with its uncertainty, which takes minutes. Fast takes Tikhonov with automatic regularisation, which takes seconds. Other settings below make it Custom.</source>
        <translation>“最佳”使用学习方法并给出不确定度，需要几分钟；“快速”使用自动正则化的 Tikhonov 方法，只需几秒。更改下面的设置后显示为“自定义”。</translation>
    </message>
    <message>
        <source>Inputs</source>
        <translation>输入</translation>
    </message>
    <message>
        <source>&amp;Input:</source>
        <translation>输入类型(&amp;I)：</translation>
    </message>
    <message>
        <source>What the volume is: the wrapped phase of the scanner, the total field after unwrapping, or the local field after background removal. It is recognised when you choose the volume; correct it here if that was wrong.</source>
        <translation>该体数据是什么：扫描仪的卷绕相位、解卷绕后的总场，或去除背景后的局部场。选择体数据时会自动识别；若识别有误，请在此更正。</translation>
    </message>
    <message>
        <source>Fiel&amp;d:</source>
        <translation>场(&amp;D)：</translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation>选择体数据</translation>
    </message>
    <message>
        <source>The phase of an echo, or a field: phase as the scanner wrote it, the total field after unwrapping, or the local field after background removal.</source>
        <translation>一个回波的相位，或一个场：扫描仪写出的相位、解卷绕后的总场，或去除背景后的局部场。</translation>
    </message>
    <message>
        <source>Other echoes:</source>
        <translation>其他回波：</translation>
    </message>
    <message>
        <source>The phases of the further echoes of the same scan. Leave all unticked for a scan of one echo.</source>
        <translation>同一次扫描其余回波的相位。单回波扫描时全部不勾选。</translation>
    </message>
    <message>
        <source>Magnitudes:</source>
        <translation>幅值图：</translation>
    </message>
    <message>
        <source>The magnitude images of the same scan, one for each echo.</source>
        <translation>同一次扫描的幅值图，每个回波一幅。</translation>
    </message>
    <message>
        <source>Echo &amp;times [ms]:</source>
        <translation>回波时间 [ms](&amp;T)：</translation>
    </message>
    <message>
        <source>One number in milliseconds for each echo, in the order in which they are listed below, such as 4 8 12. Taken from DICOM when left empty.</source>
        <translation>每个回波一个以毫秒为单位的数值，按下方列出的顺序，例如 4 8 12。留空则取自 DICOM。</translation>
    </message>
    <message>
        <source>&amp;Unit:</source>
        <translation>单位(&amp;U)：</translation>
    </message>
    <message>
        <source>Unit of the field. It is recognised when you choose the volume; correct it here if that was wrong.</source>
        <translation>场的单位。选择体数据时会自动识别；若识别有误，请在此更正。</translation>
    </message>
    <message>
        <source>B&amp;0 [T]:</source>
        <translation>B&amp;0 [T]：</translation>
    </message>
    <message>
        <source>not entered</source>
        <translation>未输入</translation>
    </message>
    <message>
        <source>Field strength of the scanner in tesla, needed to convert phase, Hz or radians to ppm.</source>
        <translation>扫描仪的场强（特斯拉），把相位、Hz 或弧度换算为 ppm 时需要。</translation>
    </message>
    <message>
        <source>Echo time [ms]:</source>
        <translation>回波时间 [ms]：</translation>
    </message>
    <message>
        <source>Echo time of the scan in milliseconds, needed to convert radians to ppm.</source>
        <translation>扫描的回波时间（毫秒），把弧度换算为 ppm 时需要。</translation>
    </message>
    <message>
        <source>&amp;Mask:</source>
        <translation>掩膜(&amp;M)：</translation>
    </message>
    <message>
        <source>None</source>
        <translation>无</translation>
    </message>
    <message>
        <source>Where the field is to be trusted, usually the brain: a segmentation, a label map or a volume that is zero outside. Without one, a mask is made from the magnitude of a phase.</source>
        <translation>场可信的区域，通常是脑：分割、标签图，或外部为零的体数据。若不选，对相位会由幅值图生成掩膜。</translation>
    </message>
    <message>
        <source>Part:</source>
        <translation>部分：</translation>
    </message>
    <message>
        <source>Which segment or label of the mask to use.</source>
        <translation>使用掩膜的哪个分割或标签。</translation>
    </message>
    <message>
        <source>&amp;Background:</source>
        <translation>背景场(&amp;B)：</translation>
    </message>
    <message>
        <source>How the field of air and bone around the brain is removed: V-SHARP for most scans, PDF to keep the brain&apos;s edge, LBV for tight masks.</source>
        <translation>如何去除脑周围空气和骨骼的场：多数扫描用 V-SHARP，需保留脑边缘时用 PDF，掩膜贴合时用 LBV。</translation>
    </message>
    <message>
        <source>Flip the sign</source>
        <translation>反转符号</translation>
    </message>
    <message>
        <source>Invert the sign of the phase or the field, for scanners on which it falls where susceptibility grows. Veins should be bright in the map.</source>
        <translation>反转相位或场的符号，用于磁化率增大时数值减小的扫描仪。图中静脉应为亮。</translation>
    </message>
    <message>
        <source>Bipolar readout</source>
        <translation>双极读出</translation>
    </message>
    <message>
        <source>Even echoes were read out backwards; their phase is corrected. From three echoes on.</source>
        <translation>偶数回波为反向读出，将校正其相位。至少需要三个回波。</translation>
    </message>
    <message>
        <source>Accept filtered phase</source>
        <translation>接受滤波后的相位</translation>
    </message>
    <message>
        <source>Use phase that seems high-pass filtered, as for susceptibility weighting, which is refused otherwise. Only small vessels of such a map mean anything.</source>
        <translation>使用看似经过高通滤波的相位（如磁敏感加权所用），否则会被拒绝。这样的图只有小血管有意义。</translation>
    </message>
    <message>
        <source>Phase range:</source>
        <translation>相位范围：</translation>
    </message>
    <message>
        <source>The two numbers that stand for −π and π, such as 0 4095. Recognised when left empty; what they were taken for stands below the phase.</source>
        <translation>代表 −π 和 π 的两个数值，例如 0 4095。留空则自动识别；识别结果显示在相位下方。</translation>
    </message>
    <message>
        <source>recognised</source>
        <translation>自动识别</translation>
    </message>
    <message>
        <source>Methods</source>
        <translation>方法</translation>
    </message>
    <message>
        <source>Methods that compute susceptibility from the field. Tick several to compare them: they run one after another, and each makes a map of its own.</source>
        <translation>由场计算磁化率的方法。勾选多个可作比较：它们依次运行，各生成一幅图。</translation>
    </message>
    <message>
        <source>Automatic &amp;regularisation</source>
        <translation>自动正则化(&amp;R)</translation>
    </message>
    <message>
        <source>Methods that smooth choose how much from the noise in the field, in place of their usual amount.</source>
        <translation>带平滑的方法根据场中的噪声选择平滑程度，而不用各自的默认值。</translation>
    </message>
    <message>
        <source>Ma&amp;gnitude:</source>
        <translation>幅值图(&amp;G)：</translation>
    </message>
    <message>
        <source>Choose a magnitude</source>
        <translation>选择幅值图</translation>
    </message>
    <message>
        <source>The magnitude image of the same scan, on the field&apos;s grid: its edges show where susceptibility may change.</source>
        <translation>同一次扫描、与场同网格的幅值图：其边缘指示磁化率可能变化之处。</translation>
    </message>
    <message>
        <source>Output</source>
        <translation>输出</translation>
    </message>
    <message>
        <source>Map:</source>
        <translation>磁化率图：</translation>
    </message>
    <message>
        <source>Create new volume</source>
        <translation>新建体数据</translation>
    </message>
    <message>
        <source>Volume that receives the susceptibility map. A new one is made for each run unless you choose one to replace.</source>
        <translation>接收磁化率图的体数据。除非选择要替换的，每次运行都会新建一个。</translation>
    </message>
    <message>
        <source>U&amp;ncertainty map</source>
        <translation>不确定度图(&amp;N)</translation>
    </message>
    <message>
        <source>Also make a map of how far the susceptibility may be off, in ppm, for methods that know it.</source>
        <translation>对能给出的方法，同时生成磁化率可能偏差多少的图（ppm）。</translation>
    </message>
    <message>
        <source>Keep intermediates</source>
        <translation>保留中间结果</translation>
    </message>
    <message>
        <source>Also load the total field, the local field, the mask in which it is valid, the residual of the fit and the quality of the phase as volumes; Show side by side shows them.</source>
        <translation>同时载入总场、局部场、其有效掩膜、拟合残差和相位质量；用“并排显示”查看。</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>应用</translation>
    </message>
    <message>
        <source>Compute a susceptibility map with each method that is ticked (Ctrl+Enter). While it runs: cancel all runs (Esc).</source>
        <translation>用每个勾选的方法计算一幅磁化率图（Ctrl+Enter）。运行期间：取消全部运行（Esc）。</translation>
    </message>
    <message>
        <source>S&amp;kip</source>
        <translation>跳过(&amp;K)</translation>
    </message>
    <message>
        <source>End the present run only, and go on with the next one.</source>
        <translation>只结束当前运行，继续下一个。</translation>
    </message>
    <message>
        <source>&amp;Queue</source>
        <translation>排队(&amp;Q)</translation>
    </message>
    <message>
        <source>Run what is chosen now after the runs that wait, for example another field.</source>
        <translation>在等待的运行之后再运行当前所选内容，例如另一个场。</translation>
    </message>
    <message>
        <source>How much of the work is done.</source>
        <translation>已完成的工作量。</translation>
    </message>
    <message>
        <source>Display</source>
        <translation>显示</translation>
    </message>
    <message>
        <source>&amp;Window:</source>
        <translation>窗宽(&amp;W)：</translation>
    </message>
    <message>
        <source>Range of susceptibility that is spread from dark to bright.</source>
        <translation>从暗到亮所覆盖的磁化率范围。</translation>
    </message>
    <message>
        <source>C&amp;olours:</source>
        <translation>颜色(&amp;O)：</translation>
    </message>
    <message>
        <source>Grey as in most publications, or blue for diamagnetic (calcium, myelin) and red for paramagnetic (iron, blood).</source>
        <translation>多数文献所用的灰度，或用蓝色表示抗磁性（钙、髓鞘）、红色表示顺磁性（铁、血液）。</translation>
    </message>
    <message>
        <source>Colour &amp;legend</source>
        <translation>颜色图例(&amp;L)</translation>
    </message>
    <message>
        <source>Show the scale in ppm beside the slices.</source>
        <translation>在切片旁显示以 ppm 为单位的标尺。</translation>
    </message>
    <message>
        <source>Show side by side</source>
        <translation>并排显示</translation>
    </message>
    <message>
        <source>Show field, susceptibility and uncertainty beside each other; scrolling and zooming one moves all.</source>
        <translation>并排显示场、磁化率和不确定度；滚动或缩放其一则全部联动。</translation>
    </message>
    <message>
        <source>Report…</source>
        <translation>报告…</translation>
    </message>
    <message>
        <source>Open a page in the browser: the map in 3-D, whether it can be trusted and what to do, and a methods paragraph with references.</source>
        <translation>在浏览器中打开一页：三维磁化率图、其是否可信及应对办法，以及带参考文献的方法段落。</translation>
    </message>
    <message>
        <source>Export as DICOM…</source>
        <translation>导出为 DICOM…</translation>
    </message>
    <message>
        <source>Write the map as MR images like the DICOM scan that it was made of, in the window as shown: choose the folder of the scan, then an empty folder.</source>
        <translation>按所显示的窗宽，把图写成与其来源 DICOM 扫描相同的 MR 图像：先选择扫描所在文件夹，再选择一个空文件夹。</translation>
    </message>
    <message>
        <source>Archive:</source>
        <translation>归档：</translation>
    </message>
    <message>
        <source>The archive: HOST:PORT, with its title before an @ where it asks for one, such as PACS@archive.hospital:104. Kept on this computer, not in the scene.</source>
        <translation>归档服务器：HOST:PORT，若需要名称则写在 @ 之前，例如 PACS@archive.hospital:104。保存在本机，不保存在场景中。</translation>
    </message>
    <message>
        <source>Send to archive…</source>
        <translation>发送到归档…</translation>
    </message>
    <message>
        <source>Send the objects that were exported last, or those of a folder, to the archive.</source>
        <translation>把最近导出的对象或某个文件夹中的对象发送到归档服务器。</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation>比较</translation>
    </message>
    <message>
        <source>Maps to show beside each other, 2 to 10. They share slice, zoom and window.</source>
        <translation>要并排显示的图，2 至 10 幅。它们共用切片、缩放和窗宽。</translation>
    </message>
    <message>
        <source>Show the ticked maps beside each other: scrolling, zooming and windowing one changes all.</source>
        <translation>并排显示勾选的图：滚动、缩放或调窗其一则全部改变。</translation>
    </message>
    <message>
        <source>First map:</source>
        <translation>第一幅图：</translation>
    </message>
    <message>
        <source>Choose a map</source>
        <translation>选择图</translation>
    </message>
    <message>
        <source>The map that differences are taken from, and the first of the two that are switched.</source>
        <translation>求差时的参照图，也是两幅切换图中的第一幅。</translation>
    </message>
    <message>
        <source>Difference to the first map</source>
        <translation>与第一幅图之差</translation>
    </message>
    <message>
        <source>Show what each map differs by from the first one, instead of the map itself.</source>
        <translation>显示每幅图与第一幅之差，而不是图本身。</translation>
    </message>
    <message>
        <source>Second map:</source>
        <translation>第二幅图：</translation>
    </message>
    <message>
        <source>The second of the two maps that are switched.</source>
        <translation>两幅切换图中的第二幅。</translation>
    </message>
    <message>
        <source>Switch maps (Shift+B)</source>
        <translation>切换图 (Shift+B)</translation>
    </message>
    <message>
        <source>Show the first map, and the second one in its place with the next press.</source>
        <translation>显示第一幅图，再按一次则在原处显示第二幅。</translation>
    </message>
    <message>
        <source>Regions</source>
        <translation>区域</translation>
    </message>
    <message>
        <source>&amp;Segments:</source>
        <translation>分割(&amp;S)：</translation>
    </message>
    <message>
        <source>Choose segments</source>
        <translation>选择分割</translation>
    </message>
    <message>
        <source>Segmentation in whose segments the maps that are ticked under Compare are evaluated.</source>
        <translation>在其各分割区内统计“比较”中勾选的图。</translation>
    </message>
    <message>
        <source>&amp;Zero at:</source>
        <translation>零点(&amp;Z)：</translation>
    </message>
    <message>
        <source>Segment whose mean is taken as zero in the table, for example the ventricles. The maps themselves stay as they are.</source>
        <translation>表中以其均值为零的分割区，例如脑室。图本身不变。</translation>
    </message>
    <message>
        <source>Show:</source>
        <translation>显示：</translation>
    </message>
    <message>
        <source>What the table and the plot show of each map. Copy table copies all of it.</source>
        <translation>表格和图表显示每幅图的哪项统计。“复制表格”会复制全部。</translation>
    </message>
    <message>
        <source>Table and plot</source>
        <translation>表格与图表</translation>
    </message>
    <message>
        <source>Fill a table with a value of every segment in every ticked map, and show it with a plot.</source>
        <translation>把每个分割区在每幅勾选图中的值填入表格，并以图表显示。</translation>
    </message>
    <message>
        <source>Copy table</source>
        <translation>复制表格</translation>
    </message>
    <message>
        <source>Copy the table to the clipboard, for a spreadsheet.</source>
        <translation>把表格复制到剪贴板，供电子表格使用。</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation>高级</translation>
    </message>
    <message>
        <source>B0 direction:</source>
        <translation>B0 方向：</translation>
    </message>
    <message>
        <source>Direction of the scanner&apos;s main field along the volume&apos;s own axes. Taken from the volume&apos;s orientation when left empty; enter three numbers only if the orientation in the file is known to be wrong.</source>
        <translation>主磁场沿体数据自身坐标轴的方向。留空则取自体数据方位；仅当文件中的方位有误时才输入三个数值。</translation>
    </message>
    <message>
        <source>Device:</source>
        <translation>设备：</translation>
    </message>
    <message>
        <source>Processor or graphics card that does the work. Automatic takes the fastest one that works.</source>
        <translation>执行计算的处理器或显卡。“自动”选用可用的最快设备。</translation>
    </message>
    <message>
        <source>Address:</source>
        <translation>地址：</translation>
    </message>
    <message>
        <source>Where ir2qsm serve runs on the other computer. The images of a run are sent there and removed there at its end. The address is kept on this computer, not in the scene.</source>
        <translation>另一台计算机上 ir2qsm serve 的地址。运行所用图像会发送到那里，结束后在那里删除。地址保存在本机，不保存在场景中。</translation>
    </message>
    <message>
        <source>Token file:</source>
        <translation>令牌文件：</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>选择…</translation>
    </message>
    <message>
        <source>File with the token of the other computer: a copy of the one that ir2qsm serve --token-file made there.</source>
        <translation>含另一台计算机令牌的文件：由那里的 ir2qsm serve --token-file 生成的文件的副本。</translation>
    </message>
    <message>
        <source>Certificate:</source>
        <translation>证书：</translation>
    </message>
    <message>
        <source>The certificate of the other computer, only if it made its own. Cancel the choice to use none.</source>
        <translation>另一台计算机的证书，仅当其使用自制证书时需要。取消选择则不使用。</translation>
    </message>
    <message>
        <source>Weights:</source>
        <translation>权重：</translation>
    </message>
    <message>
        <source>What the network has learned: the weights that come with this extension, or a file of your own.</source>
        <translation>网络学到的内容：本扩展自带的权重，或您自己的文件。</translation>
    </message>
    <message>
        <source>Import weights…</source>
        <translation>导入权重…</translation>
    </message>
    <message>
        <source>Use weights from a file: safetensors of this project, or the authors&apos; released checkpoint (.pth), which is converted without running any code in it.</source>
        <translation>使用文件中的权重：本项目的 safetensors，或作者发布的检查点（.pth），转换时不会运行其中的任何代码。</translation>
    </message>
    <message>
        <source>Tiles:</source>
        <translation>分块：</translation>
    </message>
    <message>
        <source>Work on overlapping blocks when memory is short. Smaller blocks need less memory and change the map by well under one percent.</source>
        <translation>内存不足时按重叠块计算。块越小所需内存越少，对图的改变远小于百分之一。</translation>
    </message>
    <message>
        <source>Data consistency</source>
        <translation>数据一致性</translation>
    </message>
    <message>
        <source>Reconcile the map with the measured field at the end. Leave it on unless you want to see what the network alone says.</source>
        <translation>最后使图与测得的场相一致。除非想看网络单独的结果，请保持开启。</translation>
    </message>
    <message>
        <source>Zero at:</source>
        <translation>零点：</translation>
    </message>
    <message>
        <source>Susceptibility is only known up to a constant. Choose where it is set to zero.</source>
        <translation>磁化率只能确定到一个常数。选择在何处设为零。</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation>区域：</translation>
    </message>
    <message>
        <source>Choose a region</source>
        <translation>选择区域</translation>
    </message>
    <message>
        <source>Segmentation, label map or volume whose mean susceptibility becomes zero, for example the ventricles.</source>
        <translation>平均磁化率设为零的分割、标签图或体数据，例如脑室。</translation>
    </message>
    <message>
        <source>Which segment or label of the region to use.</source>
        <translation>使用区域的哪个分割或标签。</translation>
    </message>
    <message>
        <source>Log</source>
        <translation>日志</translation>
    </message>
    <message>
        <source>What was run, with which settings, and what the worker said.</source>
        <translation>运行了什么、用哪些设置、工作进程输出了什么。</translation>
    </message>
    <message>
        <source>Cop&amp;y report</source>
        <translation>复制报告(&amp;Y)</translation>
    </message>
    <message>
        <source>Copy the log for a bug report. It holds no patient names and no folders.</source>
        <translation>复制日志用于错误报告。其中不含患者姓名和文件夹。</translation>
    </message>
    <message>
        <source>Research software, not for diagnosis.</source>
        <translation>研究软件，不用于诊断。</translation>
    </message>
    <message>
        <source>Turns phase and magnitude of an MRI scan, or a field that was made of them, into a map of magnetic susceptibility (QSM), in ppm. Choose phase or field and a mask, press Apply. See the {link_start}tutorial{link_end}. Research software, not for diagnosis.</source>
        <translation>把 MRI 扫描的相位和幅值，或由其得到的场，转换为以 ppm 为单位的磁化率图（QSM）。选择相位或场以及掩膜，按“应用”。参见{link_start}教程{link_end}。研究软件，不用于诊断。</translation>
    </message>
    <message>
        <source>The method is that of Li et al., Medical Physics 2025 (doi 10.1002/mp.17747). Weights were trained on simulated heads deformed from the ICBM 152 maps.</source>
        <translation>方法出自 Li 等，Medical Physics 2025（doi 10.1002/mp.17747）。权重在由 ICBM 152 图谱变形得到的模拟头部上训练。</translation>
    </message>
</context>
<context>
    <name>IR2QSMGui.library</name>
    <message>
        <source>The library IR2QSMLib is missing; install the extension again.</source>
        <translation>缺少库 IR2QSMLib；请重新安装扩展。</translation>
    </message>
</context>
<context>
    <name>IR2QSMGui.parameters</name>
    <message>
        <source>Best (minutes)</source>
        <translation>最佳（几分钟）</translation>
    </message>
    <message>
        <source>Fast (seconds)</source>
        <translation>快速（几秒）</translation>
    </message>
    <message>
        <source>Custom</source>
        <translation>自定义</translation>
    </message>
    <message>
        <source>Local field</source>
        <translation>局部场</translation>
    </message>
    <message>
        <source>Total field</source>
        <translation>总场</translation>
    </message>
    <message>
        <source>Wrapped phase</source>
        <translation>卷绕相位</translation>
    </message>
    <message>
        <source>Mean of the mask</source>
        <translation>掩膜内均值</translation>
    </message>
    <message>
        <source>None (as inverted)</source>
        <translation>无（按反演结果）</translation>
    </message>
    <message>
        <source>A region</source>
        <translation>某个区域</translation>
    </message>
    <message>
        <source>Mean [ppm]</source>
        <translation>均值 [ppm]</translation>
    </message>
    <message>
        <source>SD [ppm]</source>
        <translation>标准差 [ppm]</translation>
    </message>
    <message>
        <source>Median [ppm]</source>
        <translation>中位数 [ppm]</translation>
    </message>
    <message>
        <source>Volume [mm³]</source>
        <translation>体积 [mm³]</translation>
    </message>
    <message>
        <source>{low} to {high} ppm</source>
        <translation>{low} 至 {high} ppm</translation>
    </message>
    <message>
        <source>Grey</source>
        <translation>灰度</translation>
    </message>
    <message>
        <source>Blue to red, zero white</source>
        <translation>蓝到红，零为白</translation>
    </message>
</context>
<context>
    <name>panel.IR2QSMSubjectHierarchyPlugin</name>
    <message>
        <source>Open in comparison</source>
        <translation>在比较中打开</translation>
    </message>
</context>
<context>
    <name>panel.advanced_section</name>
    <message>
        <source>Automatic</source>
        <translation>自动</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation>CPU</translation>
    </message>
    <message>
        <source>Looking for devices…</source>
        <translation>正在查找设备…</translation>
    </message>
    <message>
        <source>Another computer…</source>
        <translation>另一台计算机…</translation>
    </message>
    <message>
        <source>{gb} GB free</source>
        <translation>空闲 {gb} GB</translation>
    </message>
    <message>
        <source>This torch finds no graphics card, so the CPU is used.</source>
        <translation>此 torch 未找到显卡，因此使用 CPU。</translation>
    </message>
    <message>
        <source>{n} voxels</source>
        <translation>{n} 体素</translation>
    </message>
    <message>
        <source>Bundled</source>
        <translation>自带</translation>
    </message>
    <message>
        <source>Import weights</source>
        <translation>导入权重</translation>
    </message>
    <message>
        <source>Weights (*.safetensors *.pth)</source>
        <translation>权重 (*.safetensors *.pth)</translation>
    </message>
    <message>
        <source>Converting {name}…</source>
        <translation>正在转换 {name}…</translation>
    </message>
</context>
<context>
    <name>panel.apply_section</name>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>应用</translation>
    </message>
    <message>
        <source>Cancelling…</source>
        <translation>正在取消…</translation>
    </message>
    <message>
        <source>Installed. The field is now being inspected; press Apply when that is done.</source>
        <translation>已安装。正在检查场；完成后请按“应用”。</translation>
    </message>
    <message>
        <source>Installing {names}. This takes minutes…</source>
        <translation>正在安装 {names}。需要几分钟…</translation>
    </message>
    <message>
        <source>Apply: {arguments}</source>
        <translation>应用：{arguments}</translation>
    </message>
    <message>
        <source>Done in {elapsed}.</source>
        <translation>完成，用时 {elapsed}。</translation>
    </message>
</context>
<context>
    <name>panel.compare_section</name>
    <message>
        <source>Tick another map to compare it with.</source>
        <translation>请再勾选一幅图进行比较。</translation>
    </message>
    <message>
        <source>At most {n} maps can be shown.</source>
        <translation>最多可显示 {n} 幅图。</translation>
    </message>
</context>
<context>
    <name>panel.export_section</name>
    <message>
        <source>The DICOM folder that the map was made of</source>
        <translation>图的来源 DICOM 文件夹</translation>
    </message>
    <message>
        <source>A new or empty folder for the map&apos;s DICOM objects</source>
        <translation>存放图的 DICOM 对象的新文件夹或空文件夹</translation>
    </message>
    <message>
        <source>The map is being written as DICOM…</source>
        <translation>正在把图写为 DICOM…</translation>
    </message>
    <message>
        <source>The folder of DICOM objects to send</source>
        <translation>要发送的 DICOM 对象所在文件夹</translation>
    </message>
    <message>
        <source>The objects are being sent…</source>
        <translation>正在发送对象…</translation>
    </message>
    <message>
        <source>The map is written as DICOM; Send… brings it to the archive. {warnings}</source>
        <translation>图已写为 DICOM；可用“发送…”传到归档服务器。{warnings}</translation>
    </message>
    <message>
        <source>{n} objects are in the archive.</source>
        <translation>归档中有 {n} 个对象。</translation>
    </message>
</context>
<context>
    <name>panel.methods_section</name>
    <message>
        <source>{n} ticked</source>
        <translation>已勾选 {n} 个</translation>
    </message>
    <message>
        <source>Methods: {listed}</source>
        <translation>方法：{listed}</translation>
    </message>
</context>
<context>
    <name>panel.readiness</name>
    <message>
        <source>Looking at the field…</source>
        <translation>正在检查场…</translation>
    </message>
    <message>
        <source>wrapped phase</source>
        <translation>卷绕相位</translation>
    </message>
    <message>
        <source>local field</source>
        <translation>局部场</translation>
    </message>
    <message>
        <source>total field</source>
        <translation>总场</translation>
    </message>
    <message>
        <source>magnitude</source>
        <translation>幅值图</translation>
    </message>
    <message>
        <source>susceptibility map</source>
        <translation>磁化率图</translation>
    </message>
    <message>
        <source>scanner units</source>
        <translation>扫描仪单位</translation>
    </message>
    <message>
        <source>{kind} in {unit}</source>
        <translation>{kind}（{unit}）</translation>
    </message>
    <message>
        <source>A {what} that was made here ({low} to {high}).</source>
        <translation>在此生成的{what}（{low} 至 {high}）。</translation>
    </message>
    <message>
        <source>Looks like a {what} ({low} to {high}).</source>
        <translation>看起来是{what}（{low} 至 {high}）。</translation>
    </message>
    <message>
        <source>radians, ±π</source>
        <translation>弧度，±π</translation>
    </message>
    <message>
        <source>radians, 0 to 2π</source>
        <translation>弧度，0 至 2π</translation>
    </message>
    <message>
        <source>radians, less than 2π</source>
        <translation>弧度，小于 2π</translation>
    </message>
    <message>
        <source>radians, beyond ±π</source>
        <translation>弧度，超出 ±π</translation>
    </message>
    <message>
        <source>radians, unwrapped already</source>
        <translation>弧度，已解卷绕</translation>
    </message>
    <message>
        <source>12 bits, 0 to 4095</source>
        <translation>12 位，0 至 4095</translation>
    </message>
    <message>
        <source>12 bits, −2048 to 2047</source>
        <translation>12 位，−2048 至 2047</translation>
    </message>
    <message>
        <source>13 bits, −4096 to 4095</source>
        <translation>13 位，−4096 至 4095</translation>
    </message>
    <message>
        <source>thousandths of a radian</source>
        <translation>千分之一弧度</translation>
    </message>
    <message>
        <source>degrees, ±180</source>
        <translation>度，±180</translation>
    </message>
    <message>
        <source>degrees, 0 to 360</source>
        <translation>度，0 至 360</translation>
    </message>
    <message>
        <source>Its unit is not known, so its lowest number was taken for −π and its highest for π. If that is wrong, enter the phase range.</source>
        <translation>单位未知，因此以最小值为 −π、最大值为 π。若不对，请输入相位范围。</translation>
    </message>
    <message>
        <source>Its numbers are {name}.</source>
        <translation>其数值为{name}。</translation>
    </message>
    <message>
        <source>Its numbers were taken for {name}. If that is wrong, enter the phase range.</source>
        <translation>其数值被视为{name}。若不对，请输入相位范围。</translation>
    </message>
    <message>
        <source>This volume is empty.</source>
        <translation>该体数据为空。</translation>
    </message>
    <message>
        <source>This is a susceptibility map; choose phase or a field.</source>
        <translation>这是磁化率图；请选择相位或场。</translation>
    </message>
    <message>
        <source>This looks like a magnitude image; phase or a field is needed.</source>
        <translation>这看起来是幅值图；需要相位或场。</translation>
    </message>
    <message>
        <source>Without a mask, one is made from the magnitude; one of the brain is better.</source>
        <translation>若无掩膜，将由幅值图生成；用脑掩膜更好。</translation>
    </message>
    <message>
        <source>Make it with: {modules}.</source>
        <translation>可用以下模块生成：{modules}。</translation>
    </message>
    <message>
        <source>The mask lies on another grid; it will be resampled to the field&apos;s.</source>
        <translation>掩膜位于另一网格；将重采样到场的网格。</translation>
    </message>
    <message>
        <source>Tick at least one method.</source>
        <translation>请至少勾选一个方法。</translation>
    </message>
    <message>
        <source>the magnitude image</source>
        <translation>幅值图</translation>
    </message>
    <message>
        <source>B0</source>
        <translation>B0</translation>
    </message>
    <message>
        <source>the echo time</source>
        <translation>回波时间</translation>
    </message>
    <message>
        <source>Needed for {methods}: {what}.</source>
        <translation>{methods} 需要：{what}。</translation>
    </message>
    <message>
        <source>Several methods make several maps: choose &quot;Create new volume&quot; as output.</source>
        <translation>多个方法会生成多幅图：请把输出设为“新建体数据”。</translation>
    </message>
    <message>
        <source>The map would replace its own input; choose another output volume.</source>
        <translation>图会覆盖自己的输入；请选择其他输出体数据。</translation>
    </message>
    <message>
        <source>PDF needs the noise of the field, which comes with phase only; choose another removal.</source>
        <translation>PDF 需要场的噪声，只有相位输入才有；请选择其他去除方法。</translation>
    </message>
</context>
<context>
    <name>panel.regions_section</name>
    <message>
        <source>As in the map</source>
        <translation>与图相同</translation>
    </message>
    <message>
        <source>Tick a map under Compare.</source>
        <translation>请在“比较”中勾选一幅图。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has no segments; draw one in the Segment Editor.</source>
        <translation>&apos;{name}&apos; 没有分割区；请在 Segment Editor 中绘制。</translation>
    </message>
    <message>
        <source>Copied; paste it into a spreadsheet.</source>
        <translation>已复制；可粘贴到电子表格。</translation>
    </message>
</context>
<context>
    <name>panel.report_section</name>
    <message>
        <source>The report is being made…</source>
        <translation>正在生成报告…</translation>
    </message>
    <message>
        <source>The report is open in your browser.</source>
        <translation>报告已在浏览器中打开。</translation>
    </message>
    <message>
        <source>No browser could be opened; the report is {path}.</source>
        <translation>无法打开浏览器；报告位于 {path}。</translation>
    </message>
</context>
<context>
    <name>panel.scan_section</name>
    <message>
        <source>from DICOM: {times}</source>
        <translation>取自 DICOM：{times}</translation>
    </message>
    <message>
        <source>{b0} T, from DICOM</source>
        <translation>{b0} T，取自 DICOM</translation>
    </message>
    <message>
        <source>not entered</source>
        <translation>未输入</translation>
    </message>
</context>
<context>
    <name>panel.server_section</name>
    <message>
        <source>Token of the other computer</source>
        <translation>另一台计算机的令牌</translation>
    </message>
    <message>
        <source>Certificate of the other computer</source>
        <translation>另一台计算机的证书</translation>
    </message>
    <message>
        <source>All files (*)</source>
        <translation>所有文件 (*)</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>选择…</translation>
    </message>
    <message>
        <source>Choose, if it has one of its own…</source>
        <translation>若有自制证书请选择…</translation>
    </message>
</context>
<context>
    <name>panel.status</name>
    <message>
        <source>starting</source>
        <translation>正在启动</translation>
    </message>
    <message>
        <source>{stage}: {elapsed} elapsed</source>
        <translation>{stage}：已用 {elapsed}</translation>
    </message>
    <message>
        <source>, about {left} left</source>
        <translation>，约剩 {left}</translation>
    </message>
    <message>
        <source>Cancelled; what was finished stays: {kept}.</source>
        <translation>已取消；已完成的保留：{kept}。</translation>
    </message>
    <message>
        <source>Done in {elapsed}.</source>
        <translation>完成，用时 {elapsed}。</translation>
    </message>
</context>
<context>
    <name>panel.widget</name>
    <message>
        <source>from the volume: {b0}</source>
        <translation>取自体数据：{b0}</translation>
    </message>
    <message>
        <source>Ph&amp;ase:</source>
        <translation>相位(&amp;A)：</translation>
    </message>
    <message>
        <source>Fiel&amp;d:</source>
        <translation>场(&amp;D)：</translation>
    </message>
</context>
<context>
    <name>run.durations</name>
    <message>
        <source>Takes about {time}, by earlier runs.</source>
        <translation>根据以往运行，约需 {time}。</translation>
    </message>
    <message>
        <source>Takes {low} to {high}; known better after a run.</source>
        <translation>需要 {low} 至 {high}；运行一次后会更准确。</translation>
    </message>
    <message>
        <source>{n} s</source>
        <translation>{n} 秒</translation>
    </message>
    <message>
        <source>{n} min</source>
        <translation>{n} 分钟</translation>
    </message>
</context>
<context>
    <name>run.install</name>
    <message>
        <source>{names} must be installed first: press Apply in the module&apos;s panel, or call IR2QSMGui.run.install.install({phase}).</source>
        <translation>须先安装 {names}：在模块面板按“应用”，或调用 IR2QSMGui.run.install.install({phase})。</translation>
    </message>
    <message>
        <source>Together they are less than {n} MB.</source>
        <translation>合计小于 {n} MB。</translation>
    </message>
    <message>
        <source>The PyTorch extension chooses the build of torch and adds torchvision: some 250 MB for a processor, some 3 GB for a graphics card.</source>
        <translation>PyTorch 扩展会选择 torch 的版本并附带 torchvision：处理器版约 250 MB，显卡版约 3 GB。</translation>
    </message>
    <message>
        <source>IR2QSM needs Python packages that Slicer does not bring:

{names}

{size} Packages that Slicer brings are kept where they will do. Install now?</source>
        <translation>IR2QSM 需要 Slicer 未自带的 Python 包：

{names}

{size}Slicer 自带的包只要够用就保留。现在安装吗？</translation>
    </message>
    <message>
        <source>IR2QSM: install Python packages</source>
        <translation>IR2QSM：安装 Python 包</translation>
    </message>
    <message>
        <source>Nothing was installed, so nothing can be reconstructed yet.</source>
        <translation>未安装任何包，暂时无法重建。</translation>
    </message>
    <message>
        <source>The installation failed: {reason}</source>
        <translation>安装失败：{reason}</translation>
    </message>
    <message>
        <source>The installation ended, but {names} is missing.</source>
        <translation>安装已结束，但缺少 {names}。</translation>
    </message>
    <message>
        <source>the extension PyTorch is missing; install it with the Extensions Manager and restart Slicer.</source>
        <translation>缺少 PyTorch 扩展；请在扩展管理器中安装并重启 Slicer。</translation>
    </message>
    <message>
        <source>{name} was not installed.</source>
        <translation>未安装 {name}。</translation>
    </message>
</context>
<context>
    <name>run.options</name>
    <message>
        <source>&apos;{value}&apos; is not known; expected {names}.</source>
        <translation>&apos;{value}&apos; 未知；应为 {names}。</translation>
    </message>
    <message>
        <source>The unit is &apos;{unit}&apos;; expected ppm, hz or rad.</source>
        <translation>单位为 &apos;{unit}&apos;；应为 ppm、hz 或 rad。</translation>
    </message>
    <message>
        <source>A field in {unit} needs the field strength: enter B0 in tesla.</source>
        <translation>以 {unit} 为单位的场需要场强：请输入 B0（特斯拉）。</translation>
    </message>
    <message>
        <source>A field in rad needs the echo time: enter TE.</source>
        <translation>以 rad 为单位的场需要回波时间：请输入 TE。</translation>
    </message>
    <message>
        <source>The weights &apos;{name}&apos; are not there any more; import them again or choose the bundled ones.</source>
        <translation>权重 &apos;{name}&apos; 已不存在；请重新导入或选择自带权重。</translation>
    </message>
    <message>
        <source>The B0 direction is zero; enter three numbers in voxel axes, or nothing.</source>
        <translation>B0 方向为零；请按体素轴输入三个数值，或留空。</translation>
    </message>
    <message>
        <source>Choose the region whose mean is zero, or another reference.</source>
        <translation>请选择均值为零的区域，或其他参考。</translation>
    </message>
    <message>
        <source>, from {low} to {high}</source>
        <translation>，从 {low} 到 {high}</translation>
    </message>
    <message>
        <source>The echo times are &apos;{text}&apos;; enter one for each echo in milliseconds{limits}, such as 4 8 12.</source>
        <translation>回波时间为 &apos;{text}&apos;；请为每个回波输入一个毫秒值{limits}，例如 4 8 12。</translation>
    </message>
    <message>
        <source>The phase range is &apos;{text}&apos;; enter the numbers that stand for −π and π, such as 0 4095, or nothing.</source>
        <translation>相位范围为 &apos;{text}&apos;；请输入代表 −π 和 π 的数值，例如 0 4095，或留空。</translation>
    </message>
    <message>
        <source>The B0 direction is &apos;{text}&apos;; enter three numbers in voxel axes such as 0 0 1, or nothing.</source>
        <translation>B0 方向为 &apos;{text}&apos;；请按体素轴输入三个数值，例如 0 0 1，或留空。</translation>
    </message>
</context>
<context>
    <name>run.reconstruction</name>
    <message>
        <source>The map would replace its own input; choose another output volume.</source>
        <translation>图会覆盖自己的输入；请选择其他输出体数据。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; lies on another grid than the field; resample it to the field&apos;s, or choose another volume.</source>
        <translation>&apos;{name}&apos; 与场不在同一网格；请重采样到场的网格，或选择其他体数据。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was removed meanwhile; its map lies where it was.</source>
        <translation>&apos;{name}&apos; 在此期间已被删除；其图位于原处。</translation>
    </message>
    <message>
        <source>The output volume was removed meanwhile; the map is a new one.</source>
        <translation>输出体数据在此期间已被删除；图为新建。</translation>
    </message>
</context>
<context>
    <name>run.run_queue</name>
    <message>
        <source>Skipped.</source>
        <translation>已跳过。</translation>
    </message>
    <message>
        <source>{method} ({n} of {all}): {stage}</source>
        <translation>{method}（{n}/{all}）：{stage}</translation>
    </message>
</context>
<context>
    <name>run.server</name>
    <message>
        <source>Enter the address of the other computer under Advanced, such as https://name:8765.</source>
        <translation>请在“高级”中输入另一台计算机的地址，例如 https://name:8765。</translation>
    </message>
    <message>
        <source>The address of the other computer begins with https://, or with http:// for this computer.</source>
        <translation>另一台计算机的地址以 https:// 开头，本机可用 http://。</translation>
    </message>
    <message>
        <source>Choose the file with the other computer&apos;s token under Advanced.</source>
        <translation>请在“高级”中选择另一台计算机的令牌文件。</translation>
    </message>
    <message>
        <source>The file &apos;{name}&apos; is not there any more; choose it again.</source>
        <translation>文件 &apos;{name}&apos; 已不存在；请重新选择。</translation>
    </message>
</context>
<context>
    <name>run.worker</name>
    <message>
        <source>Cancelled; nothing was changed.</source>
        <translation>已取消；未作任何更改。</translation>
    </message>
    <message>
        <source>Python could not be started ({reason}).</source>
        <translation>无法启动 Python（{reason}）。</translation>
    </message>
    <message>
        <source>The worker was ended by the system, most likely because memory ran out. Close other programs, or choose smaller tiles under Advanced, and apply again.</source>
        <translation>工作进程被系统终止，很可能是内存不足。请关闭其他程序，或在“高级”中选择更小的分块，然后重新应用。</translation>
    </message>
    <message>
        <source>The worker ended without a result (exit code {code}). {last}</source>
        <translation>工作进程结束但没有结果（退出码 {code}）。{last}</translation>
    </message>
</context>
<context>
    <name>scene.comparison</name>
    <message>
        <source>Maps that are chosen: {n}; choose 2 to {most}.</source>
        <translation>已选图：{n}；请选择 2 至 {most} 幅。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; lies on another grid than &apos;{base}&apos;; no difference can be shown.</source>
        <translation>&apos;{name}&apos; 与 &apos;{base}&apos; 不在同一网格；无法显示差值。</translation>
    </message>
    <message>
        <source>Maps that are chosen beside {base}: {n}; choose {most} at most.</source>
        <translation>除 {base} 外已选图：{n}；最多选择 {most} 幅。</translation>
    </message>
    <message>
        <source>Difference [ppm]</source>
        <translation>Difference [ppm]</translation>
    </message>
</context>
<context>
    <name>scene.display</name>
    <message>
        <source>Susceptibility [ppm]</source>
        <translation>Susceptibility [ppm]</translation>
    </message>
    <message>
        <source>± [ppm]</source>
        <translation>± [ppm]</translation>
    </message>
    <message>
        <source>Field [ppm]</source>
        <translation>Field [ppm]</translation>
    </message>
    <message>
        <source>Susceptibility</source>
        <translation>磁化率</translation>
    </message>
</context>
<context>
    <name>scene.masks</name>
    <message>
        <source>What was chosen of &apos;{name}&apos; has no voxels on the grid of &apos;{field}&apos;; choose another mask.</source>
        <translation>&apos;{name}&apos; 的所选部分在 &apos;{field}&apos; 的网格上没有体素；请选择其他掩膜。</translation>
    </message>
    <message>
        <source>The mask &apos;{name}&apos; lies on another grid and was resampled to that of the field.</source>
        <translation>掩膜 &apos;{name}&apos; 位于另一网格，已重采样到场的网格。</translation>
    </message>
    <message>
        <source>All segments</source>
        <translation>全部分割</translation>
    </message>
    <message>
        <source>All that is not zero</source>
        <translation>全部非零部分</translation>
    </message>
    <message>
        <source>Label {n}</source>
        <translation>标签 {n}</translation>
    </message>
    <message>
        <source>All labels</source>
        <translation>全部标签</translation>
    </message>
    <message>
        <source>The segment that was chosen is no longer in &apos;{name}&apos;.</source>
        <translation>所选分割已不在 &apos;{name}&apos; 中。</translation>
    </message>
    <message>
        <source>The segmentation &apos;{name}&apos; could not be exported.</source>
        <translation>无法导出分割 &apos;{name}&apos;。</translation>
    </message>
</context>
<context>
    <name>scene.nodes</name>
    <message>
        <source>&apos;{name}&apos; could not be written for the worker.</source>
        <translation>无法为工作进程写出 &apos;{name}&apos;。</translation>
    </message>
    <message>
        <source>The map that the worker wrote could not be read; apply again.</source>
        <translation>无法读取工作进程写出的图；请重新应用。</translation>
    </message>
</context>
<context>
    <name>scene.regions</name>
    <message>
        <source>Choose a segmentation with segments, and at least one map.</source>
        <translation>请选择含分割区的分割，以及至少一幅图。</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>分割</translation>
    </message>
    <message>
        <source>No.</source>
        <translation>序号</translation>
    </message>
    <message>
        <source>{statistic} of each segment</source>
        <translation>{statistic} of each segment</translation>
    </message>
    <message>
        <source>Segment (No. in the table)</source>
        <translation>Segment (No. in the table)</translation>
    </message>
    <message>
        <source>Volume [mm³]</source>
        <translation>体积 [mm³]</translation>
    </message>
    <message>
        <source>Susceptibility [ppm]</source>
        <translation>Susceptibility [ppm]</translation>
    </message>
    <message>
        <source>{map}: mean [ppm]</source>
        <translation>{map}：均值 [ppm]</translation>
    </message>
    <message>
        <source>{map}: SD [ppm]</source>
        <translation>{map}：标准差 [ppm]</translation>
    </message>
    <message>
        <source>{map}: median [ppm]</source>
        <translation>{map}：中位数 [ppm]</translation>
    </message>
    <message>
        <source>{map}: volume [mm³]</source>
        <translation>{map}：体积 [mm³]</translation>
    </message>
</context>
<context>
    <name>scene.results</name>
    <message>
        <source>total field</source>
        <translation>总场</translation>
    </message>
    <message>
        <source>local field</source>
        <translation>局部场</translation>
    </message>
    <message>
        <source>effective mask</source>
        <translation>有效掩膜</translation>
    </message>
    <message>
        <source>residual</source>
        <translation>残差</translation>
    </message>
    <message>
        <source>quality</source>
        <translation>质量</translation>
    </message>
    <message>
        <source>Cone index, coarse to fine: {index}.</source>
        <translation>锥指数，由粗到细：{index}。</translation>
    </message>
    <message>
        <source>{field} QSM {method}</source>
        <translation>{field} QSM {method}</translation>
    </message>
    <message>
        <source>{map} uncertainty</source>
        <translation>{map} 不确定度</translation>
    </message>
    <message>
        <source>{field} {what}</source>
        <translation>{field} {what}</translation>
    </message>
</context>
<context>
    <name>scene.sample_data</name>
    <message>
        <source>Quantification</source>
        <translation>定量</translation>
    </message>
</context>
<context>
    <name>scene.scan</name>
    <message>
        <source>&apos;{name}&apos; holds the slices of several echoes, as Slicer loads a series that mixes them; load one file for each echo, as dcm2niix writes, or use the command line.</source>
        <translation>&apos;{name}&apos; 含有多个回波的切片（Slicer 会这样载入混合序列）；请每个回波载入一个文件（如 dcm2niix 所写），或使用命令行。</translation>
    </message>
    <message>
        <source>The magnitude is missing: choose that of each echo.</source>
        <translation>缺少幅值图：请为每个回波选择。</translation>
    </message>
    <message>
        <source>Phases that are chosen: {n}, magnitudes: {m}; choose one of each for every echo.</source>
        <translation>已选相位：{n}，幅值图：{m}；请为每个回波各选一个。</translation>
    </message>
    <message>
        <source>Echoes that are chosen: {n}, echo times: {m}; enter one for each echo, in ms.</source>
        <translation>已选回波：{n}，回波时间：{m}；请为每个回波输入一个（ms）。</translation>
    </message>
    <message>
        <source>The echo time of &apos;{name}&apos; is not known; enter the echo times in ms, one for each echo.</source>
        <translation>&apos;{name}&apos; 的回波时间未知；请为每个回波输入一个（ms）。</translation>
    </message>
    <message>
        <source>The field strength of &apos;{name}&apos; is not known; enter B0 in tesla.</source>
        <translation>&apos;{name}&apos; 的场强未知；请输入 B0（特斯拉）。</translation>
    </message>
    <message>
        <source>{n}. {te} ms: {phase}, {magnitude}</source>
        <translation>{n}. {te} ms：{phase}，{magnitude}</translation>
    </message>
</context>
<context>
    <name>scene.validation</name>
    <message>
        <source>Choose the phase of an echo, or a field.</source>
        <translation>请选择一个回波的相位，或一个场。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; holds no image; choose another volume.</source>
        <translation>&apos;{name}&apos; 不含图像；请选择其他体数据。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has {size} voxels; a volume of at least {least} along each axis is needed.</source>
        <translation>&apos;{name}&apos; 有 {size} 个体素；每个轴至少需要 {least} 个。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has several values a voxel; choose a volume with one.</source>
        <translation>&apos;{name}&apos; 每个体素有多个值；请选择单值体数据。</translation>
    </message>
    <message>
        <source>Choose the mask: a segmentation, a labelmap or a volume.</source>
        <translation>请选择掩膜：分割、标签图或体数据。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; does not overlap the field; choose another mask.</source>
        <translation>&apos;{name}&apos; 与场不重叠；请选择其他掩膜。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has several values a voxel; choose another mask.</source>
        <translation>&apos;{name}&apos; 每个体素有多个值；请选择其他掩膜。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is empty; choose another mask.</source>
        <translation>&apos;{name}&apos; 为空；请选择其他掩膜。</translation>
    </message>
    <message>
        <source>The part that was chosen is no longer in &apos;{name}&apos;; choose another.</source>
        <translation>所选部分已不在 &apos;{name}&apos; 中；请另选。</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has no voxels; draw them, or choose another mask.</source>
        <translation>&apos;{name}&apos; 没有体素；请绘制，或选择其他掩膜。</translation>
    </message>
</context>
</TS>
