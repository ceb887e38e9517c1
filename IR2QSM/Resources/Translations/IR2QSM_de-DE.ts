<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de_DE" sourcelanguage="en">
<context>
    <name>IR2QSM</name>
    <message>
        <source>&amp;Preset:</source>
        <translation>&amp;Voreinstellung:</translation>
    </message>
    <message>
        <source>Best takes the learned method with its uncertainty, which takes minutes. Fast takes Tikhonov with automatic regularisation, which takes seconds. Other settings below make it Custom.</source>
        <translation>„Beste“ nimmt das gelernte Verfahren mit seiner Unsicherheit; das dauert Minuten. „Schnell“ nimmt Tikhonov mit automatischer Regularisierung; das dauert Sekunden. Mit anderen Einstellungen unten wird daraus „Eigene“.</translation>
    </message>
    <message>
        <source>Inputs</source>
        <translation>Eingaben</translation>
    </message>
    <message>
        <source>&amp;Input:</source>
        <translation>E&amp;ingabe:</translation>
    </message>
    <message>
        <source>What the volume is: the wrapped phase of the scanner, the total field after unwrapping, or the local field after background removal. It is recognised when you choose the volume; correct it here if that was wrong.</source>
        <translation>Was das Volumen ist: die gefaltete Phase des Scanners, das Gesamtfeld nach der Entfaltung oder das lokale Feld nach Entfernung des Hintergrunds. Es wird bei der Wahl des Volumens erkannt; berichtigen Sie es hier, falls das falsch war.</translation>
    </message>
    <message>
        <source>Fiel&amp;d:</source>
        <translation>Fel&amp;d:</translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation>Volumen wählen</translation>
    </message>
    <message>
        <source>The phase of an echo, or a field: phase as the scanner wrote it, the total field after unwrapping, or the local field after background removal.</source>
        <translation>Die Phase eines Echos oder ein Feld: die Phase, wie der Scanner sie schrieb, das Gesamtfeld nach der Entfaltung oder das lokale Feld nach Entfernung des Hintergrunds.</translation>
    </message>
    <message>
        <source>Other echoes:</source>
        <translation>Weitere Echos:</translation>
    </message>
    <message>
        <source>The phases of the further echoes of the same scan. Leave all unticked for a scan of one echo.</source>
        <translation>Die Phasen der weiteren Echos derselben Aufnahme. Bei einer Aufnahme mit einem Echo nichts ankreuzen.</translation>
    </message>
    <message>
        <source>Magnitudes:</source>
        <translation>Betragsbilder:</translation>
    </message>
    <message>
        <source>The magnitude images of the same scan, one for each echo.</source>
        <translation>Die Betragsbilder derselben Aufnahme, eines für jedes Echo.</translation>
    </message>
    <message>
        <source>Echo &amp;times [ms]:</source>
        <translation>Echo&amp;zeiten [ms]:</translation>
    </message>
    <message>
        <source>One number in milliseconds for each echo, in the order in which they are listed below, such as 4 8 12. Taken from DICOM when left empty.</source>
        <translation>Eine Zahl in Millisekunden für jedes Echo, in der Reihenfolge der Liste darunter, etwa 4 8 12. Bleibt das Feld leer, gelten die Angaben aus DICOM.</translation>
    </message>
    <message>
        <source>&amp;Unit:</source>
        <translation>Einhei&amp;t:</translation>
    </message>
    <message>
        <source>Unit of the field. It is recognised when you choose the volume; correct it here if that was wrong.</source>
        <translation>Einheit des Feldes. Sie wird bei der Wahl des Volumens erkannt; berichtigen Sie sie hier, falls das falsch war.</translation>
    </message>
    <message>
        <source>B&amp;0 [T]:</source>
        <translation>B&amp;0 [T]:</translation>
    </message>
    <message>
        <source>not entered</source>
        <translation>nicht angegeben</translation>
    </message>
    <message>
        <source>Field strength of the scanner in tesla, needed to convert phase, Hz or radians to ppm.</source>
        <translation>Feldstärke des Scanners in Tesla; nötig, um Phase, Hz oder Radiant in ppm umzurechnen.</translation>
    </message>
    <message>
        <source>Echo time [ms]:</source>
        <translation>Echozeit [ms]:</translation>
    </message>
    <message>
        <source>Echo time of the scan in milliseconds, needed to convert radians to ppm.</source>
        <translation>Echozeit der Aufnahme in Millisekunden; nötig, um Radiant in ppm umzurechnen.</translation>
    </message>
    <message>
        <source>&amp;Mask:</source>
        <translation>&amp;Maske:</translation>
    </message>
    <message>
        <source>None</source>
        <translation>Keine</translation>
    </message>
    <message>
        <source>Where the field is to be trusted, usually the brain: a segmentation, a label map or a volume that is zero outside. Without one, a mask is made from the magnitude of a phase.</source>
        <translation>Wo dem Feld zu trauen ist, meist das Gehirn: eine Segmentierung, eine Labelmap oder ein Volumen, das außerhalb null ist. Ohne Maske wird zu einer Phase eine aus dem Betragsbild gemacht.</translation>
    </message>
    <message>
        <source>Part:</source>
        <translation>Teil:</translation>
    </message>
    <message>
        <source>Which segment or label of the mask to use.</source>
        <translation>Welches Segment oder Label der Maske gilt.</translation>
    </message>
    <message>
        <source>&amp;Background:</source>
        <translation>Hintergr&amp;und:</translation>
    </message>
    <message>
        <source>How the field of air and bone around the brain is removed: V-SHARP for most scans, PDF to keep the brain&apos;s edge, LBV for tight masks.</source>
        <translation>Wie das Feld von Luft und Knochen um das Gehirn entfernt wird: V-SHARP für die meisten Aufnahmen, PDF für den Erhalt des Hirnrands, LBV für enge Masken.</translation>
    </message>
    <message>
        <source>Flip the sign</source>
        <translation>Vorzeichen umkehren</translation>
    </message>
    <message>
        <source>Invert the sign of the phase or the field, for scanners on which it falls where susceptibility grows. Veins should be bright in the map.</source>
        <translation>Das Vorzeichen der Phase oder des Feldes umkehren, für Scanner, bei denen sie mit wachsender Suszeptibilität fallen. Venen sollen in der Karte hell sein.</translation>
    </message>
    <message>
        <source>Bipolar readout</source>
        <translation>Bipolare Auslese</translation>
    </message>
    <message>
        <source>Even echoes were read out backwards; their phase is corrected. From three echoes on.</source>
        <translation>Gerade Echos wurden rückwärts ausgelesen; ihre Phase wird korrigiert. Ab drei Echos.</translation>
    </message>
    <message>
        <source>Accept filtered phase</source>
        <translation>Gefilterte Phase annehmen</translation>
    </message>
    <message>
        <source>Use phase that seems high-pass filtered, as for susceptibility weighting, which is refused otherwise. Only small vessels of such a map mean anything.</source>
        <translation>Phase verwenden, die hochpassgefiltert scheint, wie für die Suszeptibilitätswichtung; sonst wird sie abgelehnt. In einer solchen Karte sagen nur kleine Gefäße etwas aus.</translation>
    </message>
    <message>
        <source>Phase range:</source>
        <translation>Phasenbereich:</translation>
    </message>
    <message>
        <source>The two numbers that stand for −π and π, such as 0 4095. Recognised when left empty; what they were taken for stands below the phase.</source>
        <translation>Die zwei Zahlen, die für −π und π stehen, etwa 0 4095. Bleibt das Feld leer, werden sie erkannt; wofür sie gehalten wurden, steht unter der Phase.</translation>
    </message>
    <message>
        <source>recognised</source>
        <translation>erkannt</translation>
    </message>
    <message>
        <source>Methods</source>
        <translation>Verfahren</translation>
    </message>
    <message>
        <source>Methods that compute susceptibility from the field. Tick several to compare them: they run one after another, and each makes a map of its own.</source>
        <translation>Verfahren, die aus dem Feld die Suszeptibilität berechnen. Kreuzen Sie mehrere an, um sie zu vergleichen: Sie laufen nacheinander, und jedes macht eine eigene Karte.</translation>
    </message>
    <message>
        <source>Automatic &amp;regularisation</source>
        <translation>Automatische &amp;Regularisierung</translation>
    </message>
    <message>
        <source>Methods that smooth choose how much from the noise in the field, in place of their usual amount.</source>
        <translation>Glättende Verfahren wählen nach dem Rauschen im Feld, wie stark sie glätten, statt ihrer üblichen Stärke.</translation>
    </message>
    <message>
        <source>Ma&amp;gnitude:</source>
        <translation>Betra&amp;gsbild:</translation>
    </message>
    <message>
        <source>Choose a magnitude</source>
        <translation>Betragsbild wählen</translation>
    </message>
    <message>
        <source>The magnitude image of the same scan, on the field&apos;s grid: its edges show where susceptibility may change.</source>
        <translation>Das Betragsbild derselben Aufnahme auf dem Gitter des Feldes: Seine Kanten zeigen, wo sich die Suszeptibilität ändern kann.</translation>
    </message>
    <message>
        <source>Output</source>
        <translation>Ausgabe</translation>
    </message>
    <message>
        <source>Map:</source>
        <translation>Karte:</translation>
    </message>
    <message>
        <source>Create new volume</source>
        <translation>Neues Volumen anlegen</translation>
    </message>
    <message>
        <source>Volume that receives the susceptibility map. A new one is made for each run unless you choose one to replace.</source>
        <translation>Volumen, das die Suszeptibilitätskarte aufnimmt. Für jeden Lauf wird ein neues angelegt, außer Sie wählen eines, das ersetzt werden soll.</translation>
    </message>
    <message>
        <source>U&amp;ncertainty map</source>
        <translation>U&amp;nsicherheitskarte</translation>
    </message>
    <message>
        <source>Also make a map of how far the susceptibility may be off, in ppm, for methods that know it.</source>
        <translation>Auch eine Karte machen, wie weit die Suszeptibilität danebenliegen kann, in ppm, für Verfahren, die das wissen.</translation>
    </message>
    <message>
        <source>Keep intermediates</source>
        <translation>Zwischenergebnisse behalten</translation>
    </message>
    <message>
        <source>Also load the total field, the local field, the mask in which it is valid, the residual of the fit and the quality of the phase as volumes; Show side by side shows them.</source>
        <translation>Auch Gesamtfeld, lokales Feld, die Maske, in der es gilt, das Residuum der Anpassung und die Güte der Phase als Volumen laden; „Nebeneinander zeigen“ zeigt sie.</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>Anwenden</translation>
    </message>
    <message>
        <source>Compute a susceptibility map with each method that is ticked (Ctrl+Enter). While it runs: cancel all runs (Esc).</source>
        <translation>Mit jedem angekreuzten Verfahren eine Suszeptibilitätskarte berechnen (Strg+Eingabe). Während es läuft: alle Läufe abbrechen (Esc).</translation>
    </message>
    <message>
        <source>S&amp;kip</source>
        <translation>Übers&amp;pringen</translation>
    </message>
    <message>
        <source>End the present run only, and go on with the next one.</source>
        <translation>Nur den jetzigen Lauf beenden und mit dem nächsten weitermachen.</translation>
    </message>
    <message>
        <source>&amp;Queue</source>
        <translation>An&amp;stellen</translation>
    </message>
    <message>
        <source>Run what is chosen now after the runs that wait, for example another field.</source>
        <translation>Was jetzt gewählt ist, nach den wartenden Läufen ausführen, zum Beispiel ein anderes Feld.</translation>
    </message>
    <message>
        <source>How much of the work is done.</source>
        <translation>Wie viel der Arbeit getan ist.</translation>
    </message>
    <message>
        <source>Display</source>
        <translation>Anzeige</translation>
    </message>
    <message>
        <source>&amp;Window:</source>
        <translation>&amp;Fenster:</translation>
    </message>
    <message>
        <source>Range of susceptibility that is spread from dark to bright.</source>
        <translation>Bereich der Suszeptibilität, der von dunkel bis hell reicht.</translation>
    </message>
    <message>
        <source>C&amp;olours:</source>
        <translation>Far&amp;ben:</translation>
    </message>
    <message>
        <source>Grey as in most publications, or blue for diamagnetic (calcium, myelin) and red for paramagnetic (iron, blood).</source>
        <translation>Grau wie in den meisten Veröffentlichungen, oder Blau für diamagnetisch (Kalk, Myelin) und Rot für paramagnetisch (Eisen, Blut).</translation>
    </message>
    <message>
        <source>Colour &amp;legend</source>
        <translation>Farbs&amp;kala</translation>
    </message>
    <message>
        <source>Show the scale in ppm beside the slices.</source>
        <translation>Die Skala in ppm neben den Schichten zeigen.</translation>
    </message>
    <message>
        <source>Show side by side</source>
        <translation>Nebeneinander zeigen</translation>
    </message>
    <message>
        <source>Show field, susceptibility and uncertainty beside each other; scrolling and zooming one moves all.</source>
        <translation>Feld, Suszeptibilität und Unsicherheit nebeneinander zeigen; Blättern und Zoomen bewegt alle.</translation>
    </message>
    <message>
        <source>Report…</source>
        <translation>Bericht…</translation>
    </message>
    <message>
        <source>Open a page in the browser: the map in 3-D, whether it can be trusted and what to do, and a methods paragraph with references.</source>
        <translation>Eine Seite im Browser öffnen: die Karte in 3-D, ob ihr zu trauen ist und was zu tun ist, und ein Methodenabsatz mit Literatur.</translation>
    </message>
    <message>
        <source>Export as DICOM…</source>
        <translation>Als DICOM exportieren…</translation>
    </message>
    <message>
        <source>Write the map as MR images like the DICOM scan that it was made of, in the window as shown: choose the folder of the scan, then an empty folder.</source>
        <translation>Die Karte als MR-Bilder wie die DICOM-Aufnahme schreiben, aus der sie entstand, im gezeigten Fenster: Wählen Sie den Ordner der Aufnahme, dann einen leeren Ordner.</translation>
    </message>
    <message>
        <source>Archive:</source>
        <translation>Archiv:</translation>
    </message>
    <message>
        <source>The archive: HOST:PORT, with its title before an @ where it asks for one, such as PACS@archive.hospital:104. Kept on this computer, not in the scene.</source>
        <translation>Das Archiv: HOST:PORT, mit seinem Titel vor einem @, wo es einen verlangt, etwa PACS@archive.hospital:104. Wird auf diesem Rechner behalten, nicht in der Szene.</translation>
    </message>
    <message>
        <source>Send to archive…</source>
        <translation>An das Archiv senden…</translation>
    </message>
    <message>
        <source>Send the objects that were exported last, or those of a folder, to the archive.</source>
        <translation>Die zuletzt exportierten Objekte oder die eines Ordners an das Archiv senden.</translation>
    </message>
    <message>
        <source>Compare</source>
        <translation>Vergleichen</translation>
    </message>
    <message>
        <source>Maps to show beside each other, 2 to 10. They share slice, zoom and window.</source>
        <translation>Karten, die nebeneinander gezeigt werden, 2 bis 10. Sie teilen Schicht, Zoom und Fenster.</translation>
    </message>
    <message>
        <source>Show the ticked maps beside each other: scrolling, zooming and windowing one changes all.</source>
        <translation>Die angekreuzten Karten nebeneinander zeigen: Blättern, Zoomen und Fenstern einer ändert alle.</translation>
    </message>
    <message>
        <source>First map:</source>
        <translation>Erste Karte:</translation>
    </message>
    <message>
        <source>Choose a map</source>
        <translation>Karte wählen</translation>
    </message>
    <message>
        <source>The map that differences are taken from, and the first of the two that are switched.</source>
        <translation>Die Karte, zu der Differenzen gebildet werden, und die erste der beiden, die umgeschaltet werden.</translation>
    </message>
    <message>
        <source>Difference to the first map</source>
        <translation>Differenz zur ersten Karte</translation>
    </message>
    <message>
        <source>Show what each map differs by from the first one, instead of the map itself.</source>
        <translation>Zeigen, worin jede Karte von der ersten abweicht, statt der Karte selbst.</translation>
    </message>
    <message>
        <source>Second map:</source>
        <translation>Zweite Karte:</translation>
    </message>
    <message>
        <source>The second of the two maps that are switched.</source>
        <translation>Die zweite der beiden Karten, die umgeschaltet werden.</translation>
    </message>
    <message>
        <source>Switch maps (Shift+B)</source>
        <translation>Umschalten (Umsch+B)</translation>
    </message>
    <message>
        <source>Show the first map, and the second one in its place with the next press.</source>
        <translation>Die erste Karte zeigen und beim nächsten Druck die zweite an ihrer Stelle.</translation>
    </message>
    <message>
        <source>Regions</source>
        <translation>Regionen</translation>
    </message>
    <message>
        <source>&amp;Segments:</source>
        <translation>Segm&amp;ente:</translation>
    </message>
    <message>
        <source>Choose segments</source>
        <translation>Segmente wählen</translation>
    </message>
    <message>
        <source>Segmentation in whose segments the maps that are ticked under Compare are evaluated.</source>
        <translation>Segmentierung, in deren Segmenten die unter „Vergleichen“ angekreuzten Karten ausgewertet werden.</translation>
    </message>
    <message>
        <source>&amp;Zero at:</source>
        <translation>Nu&amp;ll bei:</translation>
    </message>
    <message>
        <source>Segment whose mean is taken as zero in the table, for example the ventricles. The maps themselves stay as they are.</source>
        <translation>Segment, dessen Mittel in der Tabelle als null gilt, zum Beispiel die Ventrikel. Die Karten selbst bleiben, wie sie sind.</translation>
    </message>
    <message>
        <source>Show:</source>
        <translation>Zeigen:</translation>
    </message>
    <message>
        <source>What the table and the plot show of each map. Copy table copies all of it.</source>
        <translation>Was Tabelle und Diagramm von jeder Karte zeigen. „Tabelle kopieren“ kopiert alles.</translation>
    </message>
    <message>
        <source>Table and plot</source>
        <translation>Tabelle und Diagramm</translation>
    </message>
    <message>
        <source>Fill a table with a value of every segment in every ticked map, and show it with a plot.</source>
        <translation>Eine Tabelle mit einem Wert jedes Segments in jeder angekreuzten Karte füllen und mit einem Diagramm zeigen.</translation>
    </message>
    <message>
        <source>Copy table</source>
        <translation>Tabelle kopieren</translation>
    </message>
    <message>
        <source>Copy the table to the clipboard, for a spreadsheet.</source>
        <translation>Die Tabelle für eine Tabellenkalkulation in die Zwischenablage kopieren.</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation>Erweitert</translation>
    </message>
    <message>
        <source>B0 direction:</source>
        <translation>B0-Richtung:</translation>
    </message>
    <message>
        <source>Direction of the scanner&apos;s main field along the volume&apos;s own axes. Taken from the volume&apos;s orientation when left empty; enter three numbers only if the orientation in the file is known to be wrong.</source>
        <translation>Richtung des Hauptfeldes in den Achsen des Volumens. Bleibt das Feld leer, folgt sie aus dessen Orientierung; geben Sie nur dann drei Zahlen ein, wenn die Orientierung in der Datei falsch ist.</translation>
    </message>
    <message>
        <source>Device:</source>
        <translation>Gerät:</translation>
    </message>
    <message>
        <source>Processor or graphics card that does the work. Automatic takes the fastest one that works.</source>
        <translation>Prozessor oder Grafikkarte, die rechnet. „Automatisch“ nimmt das schnellste Gerät, das geht.</translation>
    </message>
    <message>
        <source>Address:</source>
        <translation>Adresse:</translation>
    </message>
    <message>
        <source>Where ir2qsm serve runs on the other computer. The images of a run are sent there and removed there at its end. The address is kept on this computer, not in the scene.</source>
        <translation>Wo auf dem anderen Rechner ir2qsm serve läuft. Die Bilder eines Laufs werden dorthin gesandt und am Ende dort gelöscht. Die Adresse wird auf diesem Rechner behalten, nicht in der Szene.</translation>
    </message>
    <message>
        <source>Token file:</source>
        <translation>Token-Datei:</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>Wählen…</translation>
    </message>
    <message>
        <source>File with the token of the other computer: a copy of the one that ir2qsm serve --token-file made there.</source>
        <translation>Datei mit dem Token des anderen Rechners: eine Kopie der Datei, die ir2qsm serve --token-file dort angelegt hat.</translation>
    </message>
    <message>
        <source>Certificate:</source>
        <translation>Zertifikat:</translation>
    </message>
    <message>
        <source>The certificate of the other computer, only if it made its own. Cancel the choice to use none.</source>
        <translation>Das Zertifikat des anderen Rechners, nur wenn er ein eigenes gemacht hat. Brechen Sie die Wahl ab, um keines zu verwenden.</translation>
    </message>
    <message>
        <source>Weights:</source>
        <translation>Gewichte:</translation>
    </message>
    <message>
        <source>What the network has learned: the weights that come with this extension, or a file of your own.</source>
        <translation>Was das Netz gelernt hat: die mitgelieferten Gewichte oder eine eigene Datei.</translation>
    </message>
    <message>
        <source>Import weights…</source>
        <translation>Gewichte importieren…</translation>
    </message>
    <message>
        <source>Use weights from a file: safetensors of this project, or the authors&apos; released checkpoint (.pth), which is converted without running any code in it.</source>
        <translation>Gewichte aus einer Datei verwenden: safetensors dieses Projekts oder der veröffentlichte Checkpoint der Autoren (.pth), der umgewandelt wird, ohne Code darin auszuführen.</translation>
    </message>
    <message>
        <source>Tiles:</source>
        <translation>Kacheln:</translation>
    </message>
    <message>
        <source>Work on overlapping blocks when memory is short. Smaller blocks need less memory and change the map by well under one percent.</source>
        <translation>Bei knappem Speicher in überlappenden Blöcken rechnen. Kleinere Blöcke brauchen weniger Speicher und ändern die Karte um weit weniger als ein Prozent.</translation>
    </message>
    <message>
        <source>Data consistency</source>
        <translation>Datenkonsistenz</translation>
    </message>
    <message>
        <source>Reconcile the map with the measured field at the end. Leave it on unless you want to see what the network alone says.</source>
        <translation>Die Karte am Ende mit dem gemessenen Feld in Einklang bringen. Anlassen, außer Sie wollen sehen, was das Netz allein sagt.</translation>
    </message>
    <message>
        <source>Zero at:</source>
        <translation>Null bei:</translation>
    </message>
    <message>
        <source>Susceptibility is only known up to a constant. Choose where it is set to zero.</source>
        <translation>Suszeptibilität ist nur bis auf eine Konstante bekannt. Wählen Sie, wo sie null gesetzt wird.</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation>Region:</translation>
    </message>
    <message>
        <source>Choose a region</source>
        <translation>Region wählen</translation>
    </message>
    <message>
        <source>Segmentation, label map or volume whose mean susceptibility becomes zero, for example the ventricles.</source>
        <translation>Segmentierung, Labelmap oder Volumen, deren mittlere Suszeptibilität null wird, zum Beispiel die Ventrikel.</translation>
    </message>
    <message>
        <source>Which segment or label of the region to use.</source>
        <translation>Welches Segment oder Label der Region gilt.</translation>
    </message>
    <message>
        <source>Log</source>
        <translation>Protokoll</translation>
    </message>
    <message>
        <source>What was run, with which settings, and what the worker said.</source>
        <translation>Was lief, mit welchen Einstellungen, und was der Rechenprozess sagte.</translation>
    </message>
    <message>
        <source>Cop&amp;y report</source>
        <translation>Bericht k&amp;opieren</translation>
    </message>
    <message>
        <source>Copy the log for a bug report. It holds no patient names and no folders.</source>
        <translation>Das Protokoll für eine Fehlermeldung kopieren. Es enthält weder Patientennamen noch Ordner.</translation>
    </message>
    <message>
        <source>Research software, not for diagnosis.</source>
        <translation>Forschungssoftware, nicht zur Diagnose.</translation>
    </message>
    <message>
        <source>Turns phase and magnitude of an MRI scan, or a field that was made of them, into a map of magnetic susceptibility (QSM), in ppm. Choose phase or field and a mask, press Apply. See the {link_start}tutorial{link_end}. Research software, not for diagnosis.</source>
        <translation>Macht aus Phase und Betrag einer MR-Aufnahme oder aus einem daraus gewonnenen Feld eine Karte der magnetischen Suszeptibilität (QSM) in ppm. Phase oder Feld und eine Maske wählen, „Anwenden“ drücken. Siehe die {link_start}Anleitung{link_end}. Forschungssoftware, nicht zur Diagnose.</translation>
    </message>
    <message>
        <source>The method is that of Li et al., Medical Physics 2025 (doi 10.1002/mp.17747). Weights were trained on simulated heads deformed from the ICBM 152 maps.</source>
        <translation>Das Verfahren ist das von Li et al., Medical Physics 2025 (doi 10.1002/mp.17747). Die Gewichte wurden an simulierten Köpfen trainiert, die aus den ICBM-152-Karten verformt wurden.</translation>
    </message>
</context>
<context>
    <name>IR2QSMGui.library</name>
    <message>
        <source>The library IR2QSMLib is missing; install the extension again.</source>
        <translation>Die Bibliothek IR2QSMLib fehlt; installieren Sie die Erweiterung neu.</translation>
    </message>
</context>
<context>
    <name>IR2QSMGui.parameters</name>
    <message>
        <source>Best (minutes)</source>
        <translation>Beste (Minuten)</translation>
    </message>
    <message>
        <source>Fast (seconds)</source>
        <translation>Schnell (Sekunden)</translation>
    </message>
    <message>
        <source>Custom</source>
        <translation>Eigene</translation>
    </message>
    <message>
        <source>Local field</source>
        <translation>Lokales Feld</translation>
    </message>
    <message>
        <source>Total field</source>
        <translation>Gesamtfeld</translation>
    </message>
    <message>
        <source>Wrapped phase</source>
        <translation>Gefaltete Phase</translation>
    </message>
    <message>
        <source>Mean of the mask</source>
        <translation>Mittel der Maske</translation>
    </message>
    <message>
        <source>None (as inverted)</source>
        <translation>Keine (wie invertiert)</translation>
    </message>
    <message>
        <source>A region</source>
        <translation>Eine Region</translation>
    </message>
    <message>
        <source>Mean [ppm]</source>
        <translation>Mittel [ppm]</translation>
    </message>
    <message>
        <source>SD [ppm]</source>
        <translation>SD [ppm]</translation>
    </message>
    <message>
        <source>Median [ppm]</source>
        <translation>Median [ppm]</translation>
    </message>
    <message>
        <source>Volume [mm³]</source>
        <translation>Volumen [mm³]</translation>
    </message>
    <message>
        <source>{low} to {high} ppm</source>
        <translation>{low} bis {high} ppm</translation>
    </message>
    <message>
        <source>Grey</source>
        <translation>Grau</translation>
    </message>
    <message>
        <source>Blue to red, zero white</source>
        <translation>Blau bis Rot, null weiß</translation>
    </message>
</context>
<context>
    <name>panel.IR2QSMSubjectHierarchyPlugin</name>
    <message>
        <source>Open in comparison</source>
        <translation>Im Vergleich öffnen</translation>
    </message>
</context>
<context>
    <name>panel.advanced_section</name>
    <message>
        <source>Automatic</source>
        <translation>Automatisch</translation>
    </message>
    <message>
        <source>CPU</source>
        <translation>CPU</translation>
    </message>
    <message>
        <source>Looking for devices…</source>
        <translation>Geräte werden gesucht…</translation>
    </message>
    <message>
        <source>Another computer…</source>
        <translation>Ein anderer Rechner…</translation>
    </message>
    <message>
        <source>{gb} GB free</source>
        <translation>{gb} GB frei</translation>
    </message>
    <message>
        <source>This torch finds no graphics card, so the CPU is used.</source>
        <translation>Dieses torch findet keine Grafikkarte, daher rechnet die CPU.</translation>
    </message>
    <message>
        <source>{n} voxels</source>
        <translation>{n} Voxel</translation>
    </message>
    <message>
        <source>Bundled</source>
        <translation>Mitgeliefert</translation>
    </message>
    <message>
        <source>Import weights</source>
        <translation>Gewichte importieren</translation>
    </message>
    <message>
        <source>Weights (*.safetensors *.pth)</source>
        <translation>Gewichte (*.safetensors *.pth)</translation>
    </message>
    <message>
        <source>Converting {name}…</source>
        <translation>{name} wird umgewandelt…</translation>
    </message>
</context>
<context>
    <name>panel.apply_section</name>
    <message>
        <source>Cancel</source>
        <translation>Abbrechen</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>Anwenden</translation>
    </message>
    <message>
        <source>Cancelling…</source>
        <translation>Wird abgebrochen…</translation>
    </message>
    <message>
        <source>Installed. The field is now being inspected; press Apply when that is done.</source>
        <translation>Installiert. Das Feld wird jetzt untersucht; drücken Sie danach „Anwenden“.</translation>
    </message>
    <message>
        <source>Installing {names}. This takes minutes…</source>
        <translation>{names} wird installiert. Das dauert Minuten…</translation>
    </message>
    <message>
        <source>Apply: {arguments}</source>
        <translation>Anwenden: {arguments}</translation>
    </message>
    <message>
        <source>Done in {elapsed}.</source>
        <translation>Fertig nach {elapsed}.</translation>
    </message>
</context>
<context>
    <name>panel.compare_section</name>
    <message>
        <source>Tick another map to compare it with.</source>
        <translation>Kreuzen Sie zum Vergleich eine weitere Karte an.</translation>
    </message>
    <message>
        <source>At most {n} maps can be shown.</source>
        <translation>Höchstens {n} Karten können gezeigt werden.</translation>
    </message>
</context>
<context>
    <name>panel.export_section</name>
    <message>
        <source>The DICOM folder that the map was made of</source>
        <translation>Der DICOM-Ordner, aus dem die Karte entstand</translation>
    </message>
    <message>
        <source>A new or empty folder for the map&apos;s DICOM objects</source>
        <translation>Ein neuer oder leerer Ordner für die DICOM-Objekte der Karte</translation>
    </message>
    <message>
        <source>The map is being written as DICOM…</source>
        <translation>Die Karte wird als DICOM geschrieben…</translation>
    </message>
    <message>
        <source>The folder of DICOM objects to send</source>
        <translation>Der Ordner der DICOM-Objekte, die gesendet werden</translation>
    </message>
    <message>
        <source>The objects are being sent…</source>
        <translation>Die Objekte werden gesendet…</translation>
    </message>
    <message>
        <source>The map is written as DICOM; Send… brings it to the archive. {warnings}</source>
        <translation>Die Karte ist als DICOM geschrieben; „Senden…“ bringt sie in das Archiv. {warnings}</translation>
    </message>
    <message>
        <source>{n} objects are in the archive.</source>
        <translation>{n} Objekte sind im Archiv.</translation>
    </message>
</context>
<context>
    <name>panel.methods_section</name>
    <message>
        <source>{n} ticked</source>
        <translation>{n} angekreuzt</translation>
    </message>
    <message>
        <source>Methods: {listed}</source>
        <translation>Verfahren: {listed}</translation>
    </message>
</context>
<context>
    <name>panel.readiness</name>
    <message>
        <source>Looking at the field…</source>
        <translation>Das Feld wird untersucht…</translation>
    </message>
    <message>
        <source>wrapped phase</source>
        <translation>gefaltete Phase</translation>
    </message>
    <message>
        <source>local field</source>
        <translation>lokales Feld</translation>
    </message>
    <message>
        <source>total field</source>
        <translation>Gesamtfeld</translation>
    </message>
    <message>
        <source>magnitude</source>
        <translation>Betragsbild</translation>
    </message>
    <message>
        <source>susceptibility map</source>
        <translation>Suszeptibilitätskarte</translation>
    </message>
    <message>
        <source>scanner units</source>
        <translation>Scannereinheiten</translation>
    </message>
    <message>
        <source>{kind} in {unit}</source>
        <translation>{kind} in {unit}</translation>
    </message>
    <message>
        <source>A {what} that was made here ({low} to {high}).</source>
        <translation>Hier entstanden: {what} ({low} bis {high}).</translation>
    </message>
    <message>
        <source>Looks like a {what} ({low} to {high}).</source>
        <translation>Sieht aus wie: {what} ({low} bis {high}).</translation>
    </message>
    <message>
        <source>radians, ±π</source>
        <translation>Radiant, ±π</translation>
    </message>
    <message>
        <source>radians, 0 to 2π</source>
        <translation>Radiant, 0 bis 2π</translation>
    </message>
    <message>
        <source>radians, less than 2π</source>
        <translation>Radiant, weniger als 2π</translation>
    </message>
    <message>
        <source>radians, beyond ±π</source>
        <translation>Radiant, über ±π hinaus</translation>
    </message>
    <message>
        <source>radians, unwrapped already</source>
        <translation>Radiant, schon entfaltet</translation>
    </message>
    <message>
        <source>12 bits, 0 to 4095</source>
        <translation>12 Bit, 0 bis 4095</translation>
    </message>
    <message>
        <source>12 bits, −2048 to 2047</source>
        <translation>12 Bit, −2048 bis 2047</translation>
    </message>
    <message>
        <source>13 bits, −4096 to 4095</source>
        <translation>13 Bit, −4096 bis 4095</translation>
    </message>
    <message>
        <source>thousandths of a radian</source>
        <translation>Tausendstel Radiant</translation>
    </message>
    <message>
        <source>degrees, ±180</source>
        <translation>Grad, ±180</translation>
    </message>
    <message>
        <source>degrees, 0 to 360</source>
        <translation>Grad, 0 bis 360</translation>
    </message>
    <message>
        <source>Its unit is not known, so its lowest number was taken for −π and its highest for π. If that is wrong, enter the phase range.</source>
        <translation>Ihre Einheit ist nicht bekannt, daher gilt die kleinste Zahl als −π und die größte als π. Ist das falsch, geben Sie den Phasenbereich ein.</translation>
    </message>
    <message>
        <source>Its numbers are {name}.</source>
        <translation>Ihre Zahlen sind {name}.</translation>
    </message>
    <message>
        <source>Its numbers were taken for {name}. If that is wrong, enter the phase range.</source>
        <translation>Ihre Zahlen gelten als {name}. Ist das falsch, geben Sie den Phasenbereich ein.</translation>
    </message>
    <message>
        <source>This volume is empty.</source>
        <translation>Dieses Volumen ist leer.</translation>
    </message>
    <message>
        <source>This is a susceptibility map; choose phase or a field.</source>
        <translation>Das ist eine Suszeptibilitätskarte; wählen Sie Phase oder ein Feld.</translation>
    </message>
    <message>
        <source>This looks like a magnitude image; phase or a field is needed.</source>
        <translation>Das sieht wie ein Betragsbild aus; nötig ist Phase oder ein Feld.</translation>
    </message>
    <message>
        <source>Without a mask, one is made from the magnitude; one of the brain is better.</source>
        <translation>Ohne Maske wird eine aus dem Betragsbild gemacht; eine des Gehirns ist besser.</translation>
    </message>
    <message>
        <source>Make it with: {modules}.</source>
        <translation>Machen Sie sie mit: {modules}.</translation>
    </message>
    <message>
        <source>The mask lies on another grid; it will be resampled to the field&apos;s.</source>
        <translation>Die Maske liegt auf einem anderen Gitter; sie wird auf das des Feldes umgerechnet.</translation>
    </message>
    <message>
        <source>Tick at least one method.</source>
        <translation>Kreuzen Sie mindestens ein Verfahren an.</translation>
    </message>
    <message>
        <source>the magnitude image</source>
        <translation>das Betragsbild</translation>
    </message>
    <message>
        <source>B0</source>
        <translation>B0</translation>
    </message>
    <message>
        <source>the echo time</source>
        <translation>die Echozeit</translation>
    </message>
    <message>
        <source>Needed for {methods}: {what}.</source>
        <translation>Nötig für {methods}: {what}.</translation>
    </message>
    <message>
        <source>Several methods make several maps: choose &quot;Create new volume&quot; as output.</source>
        <translation>Mehrere Verfahren machen mehrere Karten: Wählen Sie „Neues Volumen anlegen“ als Ausgabe.</translation>
    </message>
    <message>
        <source>The map would replace its own input; choose another output volume.</source>
        <translation>Die Karte würde ihre eigene Eingabe ersetzen; wählen Sie ein anderes Ausgabevolumen.</translation>
    </message>
    <message>
        <source>PDF needs the noise of the field, which comes with phase only; choose another removal.</source>
        <translation>PDF braucht das Rauschen des Feldes, das es nur zur Phase gibt; wählen Sie eine andere Entfernung.</translation>
    </message>
</context>
<context>
    <name>panel.regions_section</name>
    <message>
        <source>As in the map</source>
        <translation>Wie in der Karte</translation>
    </message>
    <message>
        <source>Tick a map under Compare.</source>
        <translation>Kreuzen Sie unter „Vergleichen“ eine Karte an.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has no segments; draw one in the Segment Editor.</source>
        <translation>&apos;{name}&apos; hat keine Segmente; zeichnen Sie eines im Segment Editor.</translation>
    </message>
    <message>
        <source>Copied; paste it into a spreadsheet.</source>
        <translation>Kopiert; fügen Sie es in eine Tabellenkalkulation ein.</translation>
    </message>
</context>
<context>
    <name>panel.report_section</name>
    <message>
        <source>The report is being made…</source>
        <translation>Der Bericht wird gemacht…</translation>
    </message>
    <message>
        <source>The report is open in your browser.</source>
        <translation>Der Bericht ist in Ihrem Browser geöffnet.</translation>
    </message>
    <message>
        <source>No browser could be opened; the report is {path}.</source>
        <translation>Es ließ sich kein Browser öffnen; der Bericht ist {path}.</translation>
    </message>
</context>
<context>
    <name>panel.scan_section</name>
    <message>
        <source>from DICOM: {times}</source>
        <translation>aus DICOM: {times}</translation>
    </message>
    <message>
        <source>{b0} T, from DICOM</source>
        <translation>{b0} T, aus DICOM</translation>
    </message>
    <message>
        <source>not entered</source>
        <translation>nicht angegeben</translation>
    </message>
</context>
<context>
    <name>panel.server_section</name>
    <message>
        <source>Token of the other computer</source>
        <translation>Token des anderen Rechners</translation>
    </message>
    <message>
        <source>Certificate of the other computer</source>
        <translation>Zertifikat des anderen Rechners</translation>
    </message>
    <message>
        <source>All files (*)</source>
        <translation>Alle Dateien (*)</translation>
    </message>
    <message>
        <source>Choose…</source>
        <translation>Wählen…</translation>
    </message>
    <message>
        <source>Choose, if it has one of its own…</source>
        <translation>Wählen, falls er ein eigenes hat…</translation>
    </message>
</context>
<context>
    <name>panel.status</name>
    <message>
        <source>starting</source>
        <translation>beginnt</translation>
    </message>
    <message>
        <source>{stage}: {elapsed} elapsed</source>
        <translation>{stage}: {elapsed} vergangen</translation>
    </message>
    <message>
        <source>, about {left} left</source>
        <translation>, noch etwa {left}</translation>
    </message>
    <message>
        <source>Cancelled; what was finished stays: {kept}.</source>
        <translation>Abgebrochen; was fertig war, bleibt: {kept}.</translation>
    </message>
    <message>
        <source>Done in {elapsed}.</source>
        <translation>Fertig nach {elapsed}.</translation>
    </message>
</context>
<context>
    <name>panel.widget</name>
    <message>
        <source>from the volume: {b0}</source>
        <translation>aus dem Volumen: {b0}</translation>
    </message>
    <message>
        <source>Ph&amp;ase:</source>
        <translation>Ph&amp;ase:</translation>
    </message>
    <message>
        <source>Fiel&amp;d:</source>
        <translation>Fel&amp;d:</translation>
    </message>
</context>
<context>
    <name>run.durations</name>
    <message>
        <source>Takes about {time}, by earlier runs.</source>
        <translation>Dauert etwa {time}, nach früheren Läufen.</translation>
    </message>
    <message>
        <source>Takes {low} to {high}; known better after a run.</source>
        <translation>Dauert {low} bis {high}; nach einem Lauf genauer bekannt.</translation>
    </message>
    <message>
        <source>{n} s</source>
        <translation>{n} s</translation>
    </message>
    <message>
        <source>{n} min</source>
        <translation>{n} min</translation>
    </message>
</context>
<context>
    <name>run.install</name>
    <message>
        <source>{names} must be installed first: press Apply in the module&apos;s panel, or call IR2QSMGui.run.install.install({phase}).</source>
        <translation>{names} muss zuerst installiert werden: Drücken Sie „Anwenden“ im Modul, oder rufen Sie IR2QSMGui.run.install.install({phase}) auf.</translation>
    </message>
    <message>
        <source>Together they are less than {n} MB.</source>
        <translation>Zusammen sind es weniger als {n} MB.</translation>
    </message>
    <message>
        <source>The PyTorch extension chooses the build of torch and adds torchvision: some 250 MB for a processor, some 3 GB for a graphics card.</source>
        <translation>Die Erweiterung PyTorch wählt die Fassung von torch und fügt torchvision hinzu: etwa 250 MB für einen Prozessor, etwa 3 GB für eine Grafikkarte.</translation>
    </message>
    <message>
        <source>IR2QSM needs Python packages that Slicer does not bring:

{names}

{size} Packages that Slicer brings are kept where they will do. Install now?</source>
        <translation>IR2QSM braucht Python-Pakete, die Slicer nicht mitbringt:

{names}

{size} Pakete, die Slicer mitbringt, bleiben, wo sie genügen. Jetzt installieren?</translation>
    </message>
    <message>
        <source>IR2QSM: install Python packages</source>
        <translation>IR2QSM: Python-Pakete installieren</translation>
    </message>
    <message>
        <source>Nothing was installed, so nothing can be reconstructed yet.</source>
        <translation>Es wurde nichts installiert, also kann noch nichts rekonstruiert werden.</translation>
    </message>
    <message>
        <source>The installation failed: {reason}</source>
        <translation>Die Installation ist fehlgeschlagen: {reason}</translation>
    </message>
    <message>
        <source>The installation ended, but {names} is missing.</source>
        <translation>Die Installation ist beendet, aber {names} fehlt.</translation>
    </message>
    <message>
        <source>the extension PyTorch is missing; install it with the Extensions Manager and restart Slicer.</source>
        <translation>die Erweiterung PyTorch fehlt; installieren Sie sie mit dem Extensions Manager und starten Sie Slicer neu.</translation>
    </message>
    <message>
        <source>{name} was not installed.</source>
        <translation>{name} wurde nicht installiert.</translation>
    </message>
</context>
<context>
    <name>run.options</name>
    <message>
        <source>&apos;{value}&apos; is not known; expected {names}.</source>
        <translation>&apos;{value}&apos; ist nicht bekannt; erwartet: {names}.</translation>
    </message>
    <message>
        <source>The unit is &apos;{unit}&apos;; expected ppm, hz or rad.</source>
        <translation>Die Einheit ist &apos;{unit}&apos;; erwartet: ppm, hz oder rad.</translation>
    </message>
    <message>
        <source>A field in {unit} needs the field strength: enter B0 in tesla.</source>
        <translation>Ein Feld in {unit} braucht die Feldstärke: Geben Sie B0 in Tesla ein.</translation>
    </message>
    <message>
        <source>A field in rad needs the echo time: enter TE.</source>
        <translation>Ein Feld in rad braucht die Echozeit: Geben Sie TE ein.</translation>
    </message>
    <message>
        <source>The weights &apos;{name}&apos; are not there any more; import them again or choose the bundled ones.</source>
        <translation>Die Gewichte &apos;{name}&apos; sind nicht mehr da; importieren Sie sie neu oder wählen Sie die mitgelieferten.</translation>
    </message>
    <message>
        <source>The B0 direction is zero; enter three numbers in voxel axes, or nothing.</source>
        <translation>Die B0-Richtung ist null; geben Sie drei Zahlen in Voxelachsen ein oder nichts.</translation>
    </message>
    <message>
        <source>Choose the region whose mean is zero, or another reference.</source>
        <translation>Wählen Sie die Region, deren Mittel null ist, oder einen anderen Bezug.</translation>
    </message>
    <message>
        <source>, from {low} to {high}</source>
        <translation>, von {low} bis {high}</translation>
    </message>
    <message>
        <source>The echo times are &apos;{text}&apos;; enter one for each echo in milliseconds{limits}, such as 4 8 12.</source>
        <translation>Die Echozeiten sind &apos;{text}&apos;; geben Sie für jedes Echo eine in Millisekunden ein{limits}, etwa 4 8 12.</translation>
    </message>
    <message>
        <source>The phase range is &apos;{text}&apos;; enter the numbers that stand for −π and π, such as 0 4095, or nothing.</source>
        <translation>Der Phasenbereich ist &apos;{text}&apos;; geben Sie die Zahlen ein, die für −π und π stehen, etwa 0 4095, oder nichts.</translation>
    </message>
    <message>
        <source>The B0 direction is &apos;{text}&apos;; enter three numbers in voxel axes such as 0 0 1, or nothing.</source>
        <translation>Die B0-Richtung ist &apos;{text}&apos;; geben Sie drei Zahlen in Voxelachsen ein, etwa 0 0 1, oder nichts.</translation>
    </message>
</context>
<context>
    <name>run.reconstruction</name>
    <message>
        <source>The map would replace its own input; choose another output volume.</source>
        <translation>Die Karte würde ihre eigene Eingabe ersetzen; wählen Sie ein anderes Ausgabevolumen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; lies on another grid than the field; resample it to the field&apos;s, or choose another volume.</source>
        <translation>&apos;{name}&apos; liegt auf einem anderen Gitter als das Feld; rechnen Sie es auf das des Feldes um, oder wählen Sie ein anderes Volumen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; was removed meanwhile; its map lies where it was.</source>
        <translation>&apos;{name}&apos; wurde inzwischen entfernt; seine Karte liegt, wo es lag.</translation>
    </message>
    <message>
        <source>The output volume was removed meanwhile; the map is a new one.</source>
        <translation>Das Ausgabevolumen wurde inzwischen entfernt; die Karte ist eine neue.</translation>
    </message>
</context>
<context>
    <name>run.run_queue</name>
    <message>
        <source>Skipped.</source>
        <translation>Übersprungen.</translation>
    </message>
    <message>
        <source>{method} ({n} of {all}): {stage}</source>
        <translation>{method} ({n} von {all}): {stage}</translation>
    </message>
</context>
<context>
    <name>run.server</name>
    <message>
        <source>Enter the address of the other computer under Advanced, such as https://name:8765.</source>
        <translation>Geben Sie unter „Erweitert“ die Adresse des anderen Rechners ein, etwa https://name:8765.</translation>
    </message>
    <message>
        <source>The address of the other computer begins with https://, or with http:// for this computer.</source>
        <translation>Die Adresse des anderen Rechners beginnt mit https://, oder mit http:// für diesen Rechner.</translation>
    </message>
    <message>
        <source>Choose the file with the other computer&apos;s token under Advanced.</source>
        <translation>Wählen Sie unter „Erweitert“ die Datei mit dem Token des anderen Rechners.</translation>
    </message>
    <message>
        <source>The file &apos;{name}&apos; is not there any more; choose it again.</source>
        <translation>Die Datei &apos;{name}&apos; ist nicht mehr da; wählen Sie sie neu.</translation>
    </message>
</context>
<context>
    <name>run.worker</name>
    <message>
        <source>Cancelled; nothing was changed.</source>
        <translation>Abgebrochen; nichts wurde geändert.</translation>
    </message>
    <message>
        <source>Python could not be started ({reason}).</source>
        <translation>Python konnte nicht gestartet werden ({reason}).</translation>
    </message>
    <message>
        <source>The worker was ended by the system, most likely because memory ran out. Close other programs, or choose smaller tiles under Advanced, and apply again.</source>
        <translation>Das System hat den Rechenprozess beendet, höchstwahrscheinlich weil der Speicher ausging. Schließen Sie andere Programme oder wählen Sie unter „Erweitert“ kleinere Kacheln, und wenden Sie es erneut an.</translation>
    </message>
    <message>
        <source>The worker ended without a result (exit code {code}). {last}</source>
        <translation>Der Rechenprozess endete ohne Ergebnis (Exit-Code {code}). {last}</translation>
    </message>
</context>
<context>
    <name>scene.comparison</name>
    <message>
        <source>Maps that are chosen: {n}; choose 2 to {most}.</source>
        <translation>Gewählte Karten: {n}; wählen Sie 2 bis {most}.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; lies on another grid than &apos;{base}&apos;; no difference can be shown.</source>
        <translation>&apos;{name}&apos; liegt auf einem anderen Gitter als &apos;{base}&apos;; eine Differenz lässt sich nicht zeigen.</translation>
    </message>
    <message>
        <source>Maps that are chosen beside {base}: {n}; choose {most} at most.</source>
        <translation>Gewählte Karten neben {base}: {n}; wählen Sie höchstens {most}.</translation>
    </message>
    <message>
        <source>Difference [ppm]</source>
        <translation>Differenz [ppm]</translation>
    </message>
</context>
<context>
    <name>scene.display</name>
    <message>
        <source>Susceptibility [ppm]</source>
        <translation>Suszeptibilität [ppm]</translation>
    </message>
    <message>
        <source>± [ppm]</source>
        <translation>± [ppm]</translation>
    </message>
    <message>
        <source>Field [ppm]</source>
        <translation>Feld [ppm]</translation>
    </message>
    <message>
        <source>Susceptibility</source>
        <translation>Suszeptibilität</translation>
    </message>
</context>
<context>
    <name>scene.masks</name>
    <message>
        <source>What was chosen of &apos;{name}&apos; has no voxels on the grid of &apos;{field}&apos;; choose another mask.</source>
        <translation>Was von &apos;{name}&apos; gewählt ist, hat keine Voxel auf dem Gitter von &apos;{field}&apos;; wählen Sie eine andere Maske.</translation>
    </message>
    <message>
        <source>The mask &apos;{name}&apos; lies on another grid and was resampled to that of the field.</source>
        <translation>Die Maske &apos;{name}&apos; liegt auf einem anderen Gitter und wurde auf das des Feldes umgerechnet.</translation>
    </message>
    <message>
        <source>All segments</source>
        <translation>Alle Segmente</translation>
    </message>
    <message>
        <source>All that is not zero</source>
        <translation>Alles, was nicht null ist</translation>
    </message>
    <message>
        <source>Label {n}</source>
        <translation>Label {n}</translation>
    </message>
    <message>
        <source>All labels</source>
        <translation>Alle Labels</translation>
    </message>
    <message>
        <source>The segment that was chosen is no longer in &apos;{name}&apos;.</source>
        <translation>Das gewählte Segment ist nicht mehr in &apos;{name}&apos;.</translation>
    </message>
    <message>
        <source>The segmentation &apos;{name}&apos; could not be exported.</source>
        <translation>Die Segmentierung &apos;{name}&apos; ließ sich nicht exportieren.</translation>
    </message>
</context>
<context>
    <name>scene.nodes</name>
    <message>
        <source>&apos;{name}&apos; could not be written for the worker.</source>
        <translation>&apos;{name}&apos; konnte für den Rechenprozess nicht geschrieben werden.</translation>
    </message>
    <message>
        <source>The map that the worker wrote could not be read; apply again.</source>
        <translation>Die Karte, die der Rechenprozess schrieb, war nicht lesbar; wenden Sie es erneut an.</translation>
    </message>
</context>
<context>
    <name>scene.regions</name>
    <message>
        <source>Choose a segmentation with segments, and at least one map.</source>
        <translation>Wählen Sie eine Segmentierung mit Segmenten und mindestens eine Karte.</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>Segment</translation>
    </message>
    <message>
        <source>No.</source>
        <translation>Nr.</translation>
    </message>
    <message>
        <source>{statistic} of each segment</source>
        <translation>{statistic} jedes Segments</translation>
    </message>
    <message>
        <source>Segment (No. in the table)</source>
        <translation>Segment (Nr. in der Tabelle)</translation>
    </message>
    <message>
        <source>Volume [mm³]</source>
        <translation>Volumen [mm³]</translation>
    </message>
    <message>
        <source>Susceptibility [ppm]</source>
        <translation>Suszeptibilität [ppm]</translation>
    </message>
    <message>
        <source>{map}: mean [ppm]</source>
        <translation>{map}: Mittel [ppm]</translation>
    </message>
    <message>
        <source>{map}: SD [ppm]</source>
        <translation>{map}: SD [ppm]</translation>
    </message>
    <message>
        <source>{map}: median [ppm]</source>
        <translation>{map}: Median [ppm]</translation>
    </message>
    <message>
        <source>{map}: volume [mm³]</source>
        <translation>{map}: Volumen [mm³]</translation>
    </message>
</context>
<context>
    <name>scene.results</name>
    <message>
        <source>total field</source>
        <translation>Gesamtfeld</translation>
    </message>
    <message>
        <source>local field</source>
        <translation>lokales Feld</translation>
    </message>
    <message>
        <source>effective mask</source>
        <translation>wirksame Maske</translation>
    </message>
    <message>
        <source>residual</source>
        <translation>Residuum</translation>
    </message>
    <message>
        <source>quality</source>
        <translation>Güte</translation>
    </message>
    <message>
        <source>Cone index, coarse to fine: {index}.</source>
        <translation>Kegelindex, grob bis fein: {index}.</translation>
    </message>
    <message>
        <source>{field} QSM {method}</source>
        <translation>{field} QSM {method}</translation>
    </message>
    <message>
        <source>{map} uncertainty</source>
        <translation>{map} Unsicherheit</translation>
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
        <translation>Quantifizierung</translation>
    </message>
</context>
<context>
    <name>scene.scan</name>
    <message>
        <source>&apos;{name}&apos; holds the slices of several echoes, as Slicer loads a series that mixes them; load one file for each echo, as dcm2niix writes, or use the command line.</source>
        <translation>&apos;{name}&apos; enthält die Schichten mehrerer Echos, wie Slicer eine Serie lädt, die sie mischt; laden Sie für jedes Echo eine Datei, wie dcm2niix sie schreibt, oder nehmen Sie die Kommandozeile.</translation>
    </message>
    <message>
        <source>The magnitude is missing: choose that of each echo.</source>
        <translation>Das Betragsbild fehlt: Wählen Sie das jedes Echos.</translation>
    </message>
    <message>
        <source>Phases that are chosen: {n}, magnitudes: {m}; choose one of each for every echo.</source>
        <translation>Gewählte Phasen: {n}, Betragsbilder: {m}; wählen Sie für jedes Echo je eines.</translation>
    </message>
    <message>
        <source>Echoes that are chosen: {n}, echo times: {m}; enter one for each echo, in ms.</source>
        <translation>Gewählte Echos: {n}, Echozeiten: {m}; geben Sie für jedes Echo eine ein, in ms.</translation>
    </message>
    <message>
        <source>The echo time of &apos;{name}&apos; is not known; enter the echo times in ms, one for each echo.</source>
        <translation>Die Echozeit von &apos;{name}&apos; ist nicht bekannt; geben Sie die Echozeiten in ms ein, eine für jedes Echo.</translation>
    </message>
    <message>
        <source>The field strength of &apos;{name}&apos; is not known; enter B0 in tesla.</source>
        <translation>Die Feldstärke von &apos;{name}&apos; ist nicht bekannt; geben Sie B0 in Tesla ein.</translation>
    </message>
    <message>
        <source>{n}. {te} ms: {phase}, {magnitude}</source>
        <translation>{n}. {te} ms: {phase}, {magnitude}</translation>
    </message>
</context>
<context>
    <name>scene.validation</name>
    <message>
        <source>Choose the phase of an echo, or a field.</source>
        <translation>Wählen Sie die Phase eines Echos oder ein Feld.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; holds no image; choose another volume.</source>
        <translation>&apos;{name}&apos; enthält kein Bild; wählen Sie ein anderes Volumen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has {size} voxels; a volume of at least {least} along each axis is needed.</source>
        <translation>&apos;{name}&apos; hat {size} Voxel; nötig sind mindestens {least} entlang jeder Achse.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has several values a voxel; choose a volume with one.</source>
        <translation>&apos;{name}&apos; hat mehrere Werte je Voxel; wählen Sie ein Volumen mit einem.</translation>
    </message>
    <message>
        <source>Choose the mask: a segmentation, a labelmap or a volume.</source>
        <translation>Wählen Sie die Maske: eine Segmentierung, eine Labelmap oder ein Volumen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; does not overlap the field; choose another mask.</source>
        <translation>&apos;{name}&apos; überlappt das Feld nicht; wählen Sie eine andere Maske.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has several values a voxel; choose another mask.</source>
        <translation>&apos;{name}&apos; hat mehrere Werte je Voxel; wählen Sie eine andere Maske.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is empty; choose another mask.</source>
        <translation>&apos;{name}&apos; ist leer; wählen Sie eine andere Maske.</translation>
    </message>
    <message>
        <source>The part that was chosen is no longer in &apos;{name}&apos;; choose another.</source>
        <translation>Der gewählte Teil ist nicht mehr in &apos;{name}&apos;; wählen Sie einen anderen.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; has no voxels; draw them, or choose another mask.</source>
        <translation>&apos;{name}&apos; hat keine Voxel; zeichnen Sie sie, oder wählen Sie eine andere Maske.</translation>
    </message>
</context>
</TS>
